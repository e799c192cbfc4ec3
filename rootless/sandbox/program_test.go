package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitCodeOfAKilledRuntimeIsAShells(t *testing.T) {
	for script, want := range map[string]int{"exit 3": 3, "kill -KILL $$": 137, "kill -TERM $$": 143} {
		cmd := exec.Command("sh", "-c", script)
		code, err := exitCode(cmd, cmd.Run())
		if code != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", script, code, err, want)
		}
	}
}

func TestProgramEndsWithItsRuntime(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, `trap "" TERM INT; sleep 604 & echo up; sleep 604`)
		r, w := io.Pipe()
		s.Stdout = w
		go func() {
			_, _ = io.ReadFull(r, make([]byte, 3))
			killRuntime(t, s.StateDir)
			_, _ = io.Copy(io.Discard, r)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		exit, err := o.Run(ctx, s)
		if err != nil || exit.Code != 137 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
		if left := running(t, "sleep\x00604"); len(left) > 0 {
			t.Errorf("processes are left: %s", left)
		}
	})
}

// killRuntime kills the runtime that a state directory belongs to: a child of
// this process that was given its path.
func killRuntime(t *testing.T, stateDir string) {
	t.Helper()
	for _, line := range running(t, stateDir) {
		number, _, _ := strings.Cut(line, ":")
		if pid, err := strconv.Atoi(number); err == nil && parent(pid) == os.Getpid() {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Error(err)
			}
		}
	}
}

func TestRuntimeKilledAtAnyMomentLeavesNothing(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "true")
		output(t, o, s) // after which the filter needs no runtime any more
		s.Args = []string{"sleep", "605"}
		for delay := time.Duration(0); delay < 40*time.Millisecond; delay += 4 * time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			over := make(chan struct{})
			var killing sync.WaitGroup
			killing.Go(func() {
				for wait := delay; ; wait = 50 * time.Millisecond { // at first there may be none yet
					select {
					case <-over:
						return
					case <-time.After(wait):
						killRuntime(t, s.StateDir)
					}
				}
			})
			if _, err := o.Run(ctx, s); errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", delay, err)
			}
			close(over)
			killing.Wait()
			cancel()
			if left := running(t, "sleep\x00605"); len(left) > 0 {
				t.Fatalf("after %v processes are left: %s", delay, left)
			}
			if left, _ := os.ReadDir(s.StateDir); len(left) > 0 {
				t.Errorf("after %v files are left: %v", delay, left)
			}
		}
	})
}

func TestStateOfARuntimeKilledWithAFileBoundIsRemoved(t *testing.T) {
	needNamespace(t)
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(dir+"/test", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/runc.A", "/test/runc.B"} {
		if err := os.WriteFile(dir+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("/bin/busybox", dir+name, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	removeState(dir)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}
