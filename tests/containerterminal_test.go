package tests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newContainers gives a store with the image busybox.
func newContainers(t *testing.T) *state {
	t.Helper()
	s, err := newState()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.importBase("busybox"); err != nil {
		t.Fatal(err)
	}
	return s
}

// onTerminal runs builder on a terminal, from a shell that says at the end how it
// ended and whether the terminal is as it was before.
func (s *state) onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	const script = `before=$(stty -g); builder "$@"; code=$?
		test "$before" = "$(stty -g)" && echo "restored, code $code" || echo "not restored, code $code"`
	return newTerminal(t, s.command("sh", append([]string{"-c", script, "sh"}, args...)...), 80, 24)
}

// builderOn gives the process of builder that a shell on the terminal has started.
func (s *state) builderOn(t *testing.T, command string) int {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for p, line := range processesOf(s.dir) {
			if strings.HasPrefix(line, "builder "+command) {
				return p.pid
			}
		}
	}
	t.Fatalf("no process runs builder %s", command)
	return 0
}

// must runs builder, which has to succeed, and gives what it prints.
func (s *state) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.builder(args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestRunOnATerminal_S03(t *testing.T) {
	s := newContainers(t)
	term := s.onTerminal(t, "run", "-it", "--rm", "--name", "shell", "busybox", "sh")
	term.shows("/ #")
	term.types("stty size; tty\n")
	term.shows("24 80", "/dev/pts/0")
	term.setSize(100, 30)
	term.types("stty size\n")
	term.shows("30 100")

	// Ctrl-C ends what runs in the foreground, and leaves the shell.
	term.types("sleep 1000\n")
	s.runs(t, "shell", "sleep 1000", true)
	term.types("\x03")
	term.shows("\n^C")
	term.types("echo still here\n")
	term.shows("\nstill here")

	// Jobs are stopped and go on.
	term.types("sleep 1001\n")
	s.runs(t, "shell", "sleep 1001", true)
	term.types("\x1a")
	term.shows("Stopped")
	term.types("jobs\n")
	term.shows("[1]+  Stopped")
	term.types("exit 7\n")
	term.shows("You have stopped jobs")
	term.types("exit 7\n")
	term.shows("restored, code 7")
	term.ends()
	if entries, err := os.ReadDir(filepath.Join(s.root(), "containers")); err != nil || len(entries) > 0 {
		t.Errorf("--rm leaves %v (%v)", entries, err)
	}
}

func TestAContainerIsLeftAndJoinedAgain_S03_S21(t *testing.T) {
	s := newContainers(t)
	term := s.onTerminal(t, "run", "-it", "--name", "shell", "busybox", "sh")
	term.shows("/ #")
	// A beginning of the keys is passed on: ctrl-p is what has the shell show its
	// last line again.
	term.types("echo one two\n")
	term.shows("\none two")
	term.types("\x10 three\n")
	term.shows("\none two three")
	term.types("\x10\x11")
	term.shows("read escape sequence", "restored, code 0")
	term.ends()
	if id := s.must(t, "ps", "-q", "--no-trunc", "--filter", "name=shell"); id == "" {
		t.Fatal("the container has ended with its client")
	}

	term = s.onTerminal(t, "attach", "--detach-keys", "ctrl-x,y", "shell")
	term.types("stty size\n")
	term.shows("24 80")
	term.types("\x18y")
	term.shows("read escape sequence", "restored, code 1")
	term.ends()

	term = s.onTerminal(t, "attach", "shell")
	term.types("exit 5\n")
	term.shows("restored, code 5")
	term.ends()

	// It stays, and starts again with the user at its terminal.
	term = s.onTerminal(t, "start", "-ai", "shell")
	term.shows("/ #")
	term.types("exit 6\n")
	term.shows("restored, code 6")
	term.ends()
	if code := s.must(t, "wait", "shell"); code != "6" {
		t.Errorf("wait prints %s", code)
	}
}

func TestTheTerminalIsRestoredHoweverItEnds_S03(t *testing.T) {
	s := newContainers(t)
	s.must(t, "run", "-dit", "--name", "shell", "busybox", "sh")
	term := s.onTerminal(t, "attach", "shell")
	term.types("echo here\n")
	term.shows("\nhere")
	_ = syscall.Kill(s.builderOn(t, "attach"), syscall.SIGTERM)
	term.shows("restored, code 143")
	term.ends()

	// The program may ignore that it is asked to end, but not for ever.
	term = s.onTerminal(t, "run", "-it", "--rm", "busybox", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
	term.shows("up")
	pid := s.builderOn(t, "run")
	for range 3 {
		_ = syscall.Kill(pid, syscall.SIGTERM)
		time.Sleep(20 * time.Millisecond) // signals that come together count once
	}
	term.shows("restored, code 137")
	term.ends()

	term = s.onTerminal(t, "attach", "shell")
	term.types("echo again\n")
	term.shows("\nagain")
	_ = syscall.Kill(s.builderOn(t, "monitor"), syscall.SIGKILL) // the monitor
	term.shows("the container's monitor has ended", "restored, code 1")
	term.ends()
	if state := s.must(t, "ps", "-a", "--format", "{{.State}}", "--filter", "name=shell"); state != "dead" {
		t.Errorf("a container whose monitor was killed is %s", state)
	}
	s.must(t, "start", "shell")
	s.must(t, "rm", "-f", "shell")
}

func TestExecOnATerminal_S16(t *testing.T) {
	s := newContainers(t)
	s.must(t, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	term := s.onTerminal(t, "exec", "-it", "-e", "PS1=in> ", "web", "sh")
	term.shows("in>")
	term.types("stty size; echo $TERM\n")
	term.shows("24 80", "xterm")
	term.setSize(90, 20)
	term.types("stty size\n")
	term.shows("20 90")
	term.types("sleep 1005\n")
	s.runs(t, "web", "sleep 1005", true)
	term.types("\x03")
	term.shows("^C")
	term.types("sleep 1002 &\n")
	term.types("exit 9\n")
	term.shows("restored, code 9")
	term.ends()

	// The keys leave the program, which goes on.
	term = s.onTerminal(t, "exec", "-it", "web", "sh", "-c", "echo up; exec sleep 1003")
	term.shows("up")
	term.types("\x10\x11")
	term.shows("read escape sequence", "restored, code 1")
	term.ends()
	s.runs(t, "web", "sleep 1003", true)

	// A client that dies takes its program with it.
	term = s.onTerminal(t, "exec", "-it", "web", "sh", "-c", "echo up; sleep 1004; true")
	term.shows("up")
	_ = syscall.Kill(s.builderOn(t, "exec"), syscall.SIGKILL)
	term.shows("code 137") // the terminal is as it was left: nobody could restore it
	_ = term.cmd.Wait()
	s.runs(t, "web", "sleep 1004", false)
	s.must(t, "rm", "-f", "web")
}

// What has lost its terminal ends; the container goes on, as one that was left.
func TestALostTerminalLeavesTheContainer_S03(t *testing.T) {
	s := newContainers(t)
	term := s.onTerminal(t, "run", "-it", "--name", "shell", "busybox", "sh")
	term.shows("/ #")
	pid := s.builderOn(t, "run")
	_ = term.master.Close()
	_ = term.cmd.Wait()
	for deadline := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the client is still there")
		}
	}
	term = s.onTerminal(t, "attach", "shell")
	term.types("echo here; exit 4\n")
	term.shows("restored, code 4")
	term.ends()
	s.must(t, "rm", "shell")
}

// runs waits until a program is there in a container, or is there no more.
func (s *state) runs(t *testing.T, name, program string, want bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		list := s.must(t, "exec", name, "ps")
		if strings.Contains(list, program) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %t is wanted:\n%s", program, want, list)
		}
	}
}
