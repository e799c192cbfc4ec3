package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
)

// execution is a shell command for a sandbox that runs.
func execution(script string) Exec {
	return Exec{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}}
}

// execute runs e in p, and gives how it ended and what it has printed.
func execute(t testing.TB, p *Program, e Exec) (Exit, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	e.Stdout, e.Stderr = w, w
	running, err := p.Exec(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	printed, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	exit, err := running.Wait()
	if err != nil {
		t.Errorf("%+v %v\n%s", exit, err, printed)
	}
	return exit, string(printed)
}

func TestExecIsInTheSandboxAndTellsItsExit(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "sleep 614")
		p := started(t, o, s)
		const script = `cat /proc/1/cmdline | tr '\0' ' '; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; grep Seccomp: /proc/self/status; grep Cap /proc/self/status`
		exit, printed := execute(t, p, execution(script+"; exit 5"))
		if exit != (Exit{Code: 5}) {
			t.Errorf("%+v", exit)
		}
		for _, ns := range []string{"net", "ipc"} {
			if want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.PID(), ns)); err != nil || !strings.Contains(printed, want) {
				t.Errorf("%q isn't in %s", want, printed)
			}
		}
	})
}

func TestExecThatCannotBeRunIsTold(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "sleep 615")
		p := started(t, o, s)
		for command, want := range unrunnable(t, s.RootFS) {
			e := execution("")
			e.Args = []string{command}
			_, err := p.Exec(t.Context(), e)
			if err == nil || fault.Code(err) != want || fault.Remedy(err) == "" {
				t.Errorf("%s: %v (code %d, remedy %q); want %d", command, err, fault.Code(err), fault.Remedy(err), want)
			}
		}
	})
}

func TestExecIsSignalledAndEndsWithItsSandbox(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		p := started(t, o, shell(t, "sleep 616"))
		killed, err := p.Exec(t.Context(), execution("exec sleep 616"))
		if err != nil {
			t.Fatal(err)
		}
		stays, err := p.Exec(t.Context(), execution("sleep 616"))
		if err != nil {
			t.Fatal(err)
		}
		if err := killed.Kill(); err != nil {
			t.Error(err)
		}
		if exit, err := killed.Wait(); err != nil || exit.Code != 137 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
		if err := p.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 137 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
		if exit, err := stays.Wait(); err != nil || exit.Code != 137 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
		if left := running(t, "sleep\x00616"); len(left) > 0 {
			t.Errorf("processes are left: %s", left)
		}
	})
}

func TestExecAfterTheEndIsTold(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		p := started(t, o, shell(t, "true"))
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Exec(t.Context(), execution("true")); !errors.Is(err, ErrEnded) {
			t.Errorf("%v", err)
		}
	})
}

func TestExecsSideBySideDontDisturbEachOther(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		p := started(t, o, shell(t, "sleep 621"))
		var execs sync.WaitGroup
		for n := range 12 {
			execs.Go(func() {
				e := execution(fmt.Sprintf("exit %d", n))
				if n%3 == 0 { // what it leaves is ended meanwhile
					e.Args = []string{"nowhere"}
				}
				r, err := p.Exec(t.Context(), e)
				if n%3 == 0 {
					if fault.Code(err) != 127 {
						t.Errorf("%v; want code 127", err)
					}
					return
				}
				if err != nil {
					t.Errorf("%d: %v", n, err)
					return
				}
				if exit, err := r.Wait(); err != nil || exit.Code != n {
					t.Errorf("%+v, %v; want code %d", exit, err, n)
				}
			})
		}
		execs.Wait()
		if left := orphansOf(t); len(left) > 0 {
			t.Errorf("not waited for: %v", left)
		}
	})
}

// orphansOf lists the zombies in pid namespaces below ours.
func orphansOf(t *testing.T) (found []int) {
	t.Helper()
	for _, pid := range processes() {
		if now, err := lookUp(pid); err == nil && now.state == zombie && isOrphan(pid) {
			found = append(found, pid)
		}
	}
	return found
}

func TestExecHasTheSandboxsFilter(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := probeSpec(t)
		probe, env := s.Args, s.Env
		want := output(t, o, s)
		s.Args = []string{"sleep", "624"}
		exit, got := execute(t, started(t, o, s), Exec{Args: probe, Env: env})
		if exit.Code != 0 || got != want {
			t.Errorf("%+v, verdicts\n%s\nof the first program\n%s", exit, got, want)
		}
	})
}

func TestExecOfAnotherUserInAnotherDirectory(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		mapping, err := userns.Current()
		if err != nil {
			t.Fatal(err)
		}
		p := started(t, o, shell(t, "sleep 625"))
		e := execution(`id -u; pwd; echo "$WORD"; grep CapEff /proc/self/status`)
		e.Cwd, e.Env = "/tmp", append(e.Env, "WORD=word")
		user, caps := "0", "00000000a80425fb"
		if mapping.Kind != userns.KindSingle {
			e.UID, e.GID, e.Groups, user, caps = 33, 33, []uint32{7}, "33", "0000000000000000"
		}
		want := user + "\n/tmp\nword\nCapEff:\t" + caps + "\n"
		if exit, got := execute(t, p, e); exit.Code != 0 || got != want {
			t.Errorf("%+v, %q; want %q", exit, got, want)
		}
		e.Cwd = "/no/where"
		_, err = p.Exec(t.Context(), e)
		if fault.Code(err) != 127 || !strings.Contains(fault.Remedy(err), e.Cwd) {
			t.Errorf("%v (code %d, remedy %q)", err, fault.Code(err), fault.Remedy(err))
		}
	})
}

func TestCloseAmidExecsLeavesNothing(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "sleep 627")
		p := started(t, o, s)
		var execs sync.WaitGroup
		for range 4 {
			execs.Go(func() {
				for {
					r, err := p.Exec(t.Context(), execution("exec sleep 627"))
					if err != nil {
						if !errors.Is(err, ErrEnded) {
							t.Errorf("%v", err)
						}
						return
					}
					if r.Signal(unix.SIGTERM) != nil {
						t.Error("a program that runs can't be signalled")
					}
				}
			})
		}
		first, err := p.Exec(t.Context(), execution("true"))
		if err == nil {
			_, err = first.Wait()
		}
		if err != nil {
			t.Error(err)
		}
		closeAll(t, p)
		execs.Wait()
		if left := running(t, "sleep\x00627"); len(left) > 0 {
			t.Errorf("processes are left: %s", left)
		}
		closeAll(t, p)
	})
}
