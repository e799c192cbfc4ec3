package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// pipe gives the two ends of one, which a program that outlives a call needs.
func pipe(t testing.TB) (r *bufio.Reader, w *os.File) {
	t.Helper()
	reader, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), w.Close() })
	return bufio.NewReader(reader), w
}

// create makes a program of s, which is closed at the end of the test.
func create(t testing.TB, o *OCI, s Spec) *Program {
	t.Helper()
	p, err := o.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, p) })
	return p
}

// closeAll closes the program, and looks whether that leaves anything.
func closeAll(t testing.TB, p *Program) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(p.spec.StateDir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v (%v)", left, err)
	}
}

// started makes a program and lets it begin.
func started(t testing.TB, o *OCI, s Spec) *Program {
	t.Helper()
	p := create(t, o, s)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProgramBeginsWithStartAndTellsItsExit(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		r, w := pipe(t)
		for script, want := range map[string]Exit{
			"echo up; exit 3":                 {Code: 3},
			"echo up; sleep 611 </dev/null &": {},
			"echo up":                         {},
		} {
			s := shell(t, script)
			s.Stdout = w
			p := create(t, o, s)
			if parent(p.PID()) != os.Getpid() {
				t.Errorf("the program isn't our child")
			}
			if _, err := w.WriteString("before\n"); err != nil {
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			exit, err := p.Wait()
			exit.OOMUnknown = false // the machine's matter
			if err != nil || exit != want {
				t.Errorf("%s: %+v, %v; want %+v", script, exit, err, want)
			}
			for _, want := range []string{"before\n", "up\n"} {
				if got, err := r.ReadString('\n'); got != want {
					t.Errorf("output %q, %v; want %q", got, err, want)
				}
			}
			if left := running(t, "sleep\x00611"); len(left) > 0 {
				t.Errorf("processes are left: %s", left)
			}
		}
	})
}

func TestNoRuntimeStaysBesideAProgram(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		r, w := pipe(t)
		s := shell(t, "echo up; sleep 612")
		s.Stdout = w
		started(t, o, s)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if left := running(t, s.StateDir); len(left) > 0 {
			t.Errorf("processes %s", left)
		}
	})
}

func TestCloseEndsAProgramThatRunsOrHasNotBegun(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		closeAll(t, create(t, o, shell(t, "sleep 613")))
		r, w := pipe(t)
		s := shell(t, `trap "" TERM; setsid sleep 613 & echo up; sleep 613`)
		s.Stdout = w
		p := started(t, o, s)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		closeAll(t, p)
		if exit, err := p.Wait(); err != nil || exit.Code != 137 || exit.Signal != 9 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
		if left := running(t, "sleep\x00613"); len(left) > 0 {
			t.Errorf("processes are left: %s", left)
		}
	})
}

func TestSignalsReachAProgram(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		r, w := pipe(t)
		s := shell(t, `trap "exit 7" TERM; echo up; while :; do sleep 0.01; done`)
		s.Stdout = w
		p := started(t, o, s)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(unix.SIGTERM); err != nil {
			t.Error(err)
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 7 {
			t.Errorf("%+v, %v; want code 7", exit, err)
		}
		if err := p.Signal(unix.SIGTERM); err != nil {
			t.Errorf("after its end: %v", err)
		}
	})
}

// unrunnable are commands that can't be run, with the codes that tell so.
func unrunnable(t *testing.T, root string) map[string]int {
	t.Helper()
	for name, file := range map[string]struct {
		content string
		mode    os.FileMode
	}{
		"plain":   {"#!/bin/sh\n", 0o644},
		"garbage": {"\x7fELF nothing", 0o755},
		"script":  {"#!/no/such/interpreter\n", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(file.content), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]int{
		"nowhere": 127, "/no/where": 127, "/script": 127, "/plain": 126, "/garbage": 126, "/etc": 126, "/plain/file": 126,
	}
}

func TestProgramThatCannotBeMadeIsTold(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "")
		for command, want := range unrunnable(t, s.RootFS) {
			s.Args = []string{command}
			p, err := o.Create(t.Context(), s)
			if err == nil {
				err = p.Start()
				_ = p.Close()
			}
			if err == nil || fault.Code(err) != want || fault.Remedy(err) == "" {
				t.Errorf("%s: %v (code %d, remedy %q); want %d", command, err, fault.Code(err), fault.Remedy(err), want)
			}
			if left, _ := os.ReadDir(s.StateDir); len(left) > 0 {
				t.Errorf("left in the state directory: %v", left)
			}
		}
	})
}

func TestCreateCancelledAtAnyMomentLeavesNothing(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "sleep 622")
		for delay := time.Duration(0); delay < 40*time.Millisecond; delay += 4 * time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), delay)
			p, err := o.Create(ctx, s)
			if err == nil {
				err = p.Close()
			} else if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			if err != nil {
				t.Errorf("after %v: %v", delay, err)
			}
			cancel()
			if left := running(t, s.StateDir); len(left) > 0 {
				t.Fatalf("after %v processes are left: %s", delay, left)
			}
			if left, _ := os.ReadDir(s.StateDir); len(left) > 0 {
				t.Errorf("after %v files are left: %v", delay, left)
			}
		}
	})
}

func TestProgramIsMadeWithoutAFilterThatCrunRefuses(t *testing.T) {
	needNamespace(t)
	cache := t.TempDir()
	o := NewOCI(runtimes(t)[0], cache, true)
	output(t, o, shell(t, "true"))
	// An instruction that no kernel loads.
	if err := writeFilter(cachedFilter(t, cache), bytes.Repeat([]byte{0xff}, 8)); err != nil {
		t.Fatal(err)
	}
	p := started(t, NewOCI(runtimes(t)[0], cache, true), shell(t, "grep -q Seccomp:.2 /proc/self/status"))
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}
