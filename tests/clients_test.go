package tests

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// begin starts builder, which ends at the latest with the test.
func (s *state) begin(t *testing.T, args ...string) (cmd *exec.Cmd, out *watchedOutput) {
	t.Helper()
	cmd, out = s.command("builder", args...), &watchedOutput{}
	out.pipe(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, out
}

// watchedOutput is what a command prints, as it comes.
type watchedOutput struct{ from *os.File }

func (w *watchedOutput) pipe(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.from, cmd.Stdout, cmd.Stderr = from, to, to
	t.Cleanup(func() { _ = from.Close() })
	t.Cleanup(func() { _ = to.Close() })
}

// shows waits until a text has been printed.
func (w *watchedOutput) shows(t *testing.T, text string) {
	t.Helper()
	_ = w.from.SetReadDeadline(time.Now().Add(patience))
	var all []byte
	for buffer := make([]byte, 4096); !bytes.Contains(all, []byte(text)); {
		n, err := w.from.Read(buffer)
		if all = append(all, buffer[:n]...); err != nil {
			t.Fatalf("%q isn't printed (%v), but %q", text, err, all)
		}
	}
}

// kill ends a client without a chance to say or do anything.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// becomes waits until ps tells that of a container's state.
func (s *state) becomes(t *testing.T, name, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = s.must(t, "ps", "-a", "--format", "{{.State}}", "--filter", "name="+name); got == want {
			return
		}
	}
	t.Fatalf("container %s is %q, not %q", name, got, want)
}

func TestAClientsDeath(t *testing.T) {
	s := newContainers(t)
	s.must(t, "run", "-d", "--name", "web", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.1; done")

	exec, out := s.begin(t, "exec", "web", "sh", "-c", "sleep 2001 & echo up; sleep 2002; true")
	out.shows(t, "up")
	kill(t, exec)
	s.runs(t, "web", "sleep 2002", false)

	exec, _ = s.begin(t, "exec", "-d", "web", "sleep", "2003")
	_ = exec.Wait()
	s.runs(t, "web", "sleep 2003", true)

	attached, out := s.begin(t, "attach", "web")
	out.shows(t, "tick")
	kill(t, attached)
	follower, out := s.begin(t, "logs", "-f", "--tail", "1", "web")
	out.shows(t, "tick\ntick")
	kill(t, follower)
	s.becomes(t, "web", "running")
	s.must(t, "rm", "-f", "web")

	// run, in the foreground: the container goes on, as if it had been left.
	run, out := s.begin(t, "run", "--name", "left", "busybox", "sh", "-c", "echo up; exec sleep 1000")
	out.shows(t, "up")
	kill(t, run)
	s.becomes(t, "left", "running")
	s.must(t, "rm", "-f", "left")
	if err := s.quiet(); err != nil {
		t.Error(err)
	}
}

// TestRunIsKilledBeforeItsProgramRuns kills run at moments spread over its length. There
// is a whole container then, running or not, or none.
func TestRunIsKilledBeforeItsProgramRuns(t *testing.T) {
	s := newContainers(t)
	begun := time.Now()
	s.must(t, "run", "-d", "--name", "victim", "-v", "/anonymous", "busybox", "sleep", "1000")
	length := time.Since(begun)
	s.must(t, "rm", "-f", "-v", "victim")
	seen := map[string]int{}
	for i := range rounds {
		run, _ := s.begin(t, "run", "--name", "victim", "-v", "/anonymous", "busybox", "sleep", "1000")
		time.Sleep(length * time.Duration(i) / rounds)
		kill(t, run)
		s.settled(t)
		state := s.must(t, "ps", "-a", "--format", "{{.State}}")
		seen[state]++
		switch state {
		case "running", "created":
			s.must(t, "rm", "-f", "-v", "victim")
		case "":
		default:
			t.Errorf("killed at %d/%d of its length it leaves a container that is %s", i, rounds, state)
			s.must(t, "rm", "-f", "-v", "victim")
		}
	}
	t.Log(seen)
	// The next one finds the name free, and clears up.
	s.must(t, "run", "--rm", "--name", "victim", "busybox", "true")
	if out := s.must(t, "system", "check"); !strings.Contains(out, "in order") {
		t.Error(out)
	}
	if out := s.must(t, "volume", "ls", "-q"); out != "" {
		t.Errorf("volumes are left: %s", out)
	}
	if left, err := filepath.Glob(filepath.Join(s.root(), "snapshots/kept/*")); err != nil || len(left) > 0 {
		t.Errorf("trees are left: %v %v", left, err)
	}
	if err := s.quiet(); err != nil {
		t.Error(err)
	}
}

// settled waits until a monitor has either a program or an end.
func (s *state) settled(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		monitors, programs := 0, 0
		for _, line := range processesOf(s.dir) {
			if strings.Contains(line, " monitor ") {
				monitors++
			}
			if line == "sleep 1000" {
				programs++
			}
		}
		if monitors == programs {
			return
		}
	}
	t.Errorf("a monitor neither runs nor ends: %v", processesOf(s.dir))
}

// A commit that is killed, or told to end, lets the container go on.
func TestACommitIsKilled(t *testing.T) {
	s := newContainers(t)
	s.must(t, "run", "-d", "--name", "web", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.1; done")
	s.must(t, "exec", "web", "sh", "-c", "for i in $(seq 40); do head -c 1000000 /dev/urandom > /file$i; done")
	begun := time.Now()
	s.must(t, "commit", "web", "whole")
	length := time.Since(begun)
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL, syscall.SIGKILL} {
		commit, _ := s.begin(t, "commit", "web", "part")
		time.Sleep(length * time.Duration(i+1) / 8)
		_ = commit.Process.Signal(sig)
		_ = commit.Wait()
		s.becomes(t, "web", "running")
		follower, out := s.begin(t, "logs", "-f", "--tail", "1", "web")
		out.shows(t, "tick\ntick")
		kill(t, follower)
	}
	s.must(t, "commit", "web", "part")
	s.must(t, "rm", "-f", "web")
	if out := s.must(t, "system", "check"); !strings.Contains(out, "in order") {
		t.Error(out)
	}
}

// Strangers' words on a monitor's socket, and silence, keep nobody from using it.
func TestStrangersOnAMonitorsSocket(t *testing.T) {
	s := newContainers(t)
	s.must(t, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	id, _, err := s.monitorOf("web")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.root(), "containers", id)
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "sock"): 0o600 | os.ModeSocket} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, not %v (%v)", path, info.Mode(), want, err)
		}
	}
	opened, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	address := fmt.Sprintf("/proc/self/fd/%d/sock", opened.Fd())
	for range 300 {
		c, err := net.Dial("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for _, said := range []string{"GET / HTTP/1.1\r\n\r\n", "bmon\x01\x00\x00\x00\x00\x02[]", "bmon\x01\x00\xff\xff\xff\xff", "bmon\x02\x00\x00\x00\x00\x00", strings.Repeat("\x00", 1<<20)} {
		c, err := net.Dial("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, said)
		_ = c.(*net.UnixConn).CloseWrite()
		answer, err := io.ReadAll(c)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: %v", said, err)
		}
		if len(answer) > 0 && !strings.Contains(string(answer), "doesn't understand") {
			t.Errorf("%.20q is answered by %q", said, answer)
		}
		_ = c.Close()
	}
	s.must(t, "exec", "web", "true")
	// Who says nothing isn't waited for.
	s.must(t, "stop", "-t", "0", "web")
	s.must(t, "start", "web")
	s.must(t, "rm", "-f", "web")
	if err := s.quiet(); err != nil {
		t.Error(err)
	}
}
