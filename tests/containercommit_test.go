package tests

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestContainerGoesOnAfterCommit kills a commit in the middle, now the command
// itself, now the process that does its work where the container is mounted. The
// container, which stands still meanwhile, has to go on, and nothing is left of the
// image.
func TestContainerGoesOnAfterCommit(t *testing.T) {
	s := newCommits(t)
	id := s.must("run", "-d", "--name", "box", "busybox", "sh", "-c",
		"head -c 400000000 /dev/urandom > /big; : > /ready; while :; do echo >> /ticks; sleep 0.05; done")
	s.eventually("the file is written", func() bool { return strings.Contains(s.must("diff", "box"), "A /ready\n") })

	for name, victim := range map[string]func(client *exec.Cmd) int{
		"the command": func(client *exec.Cmd) int { return client.Process.Pid },
		"the process inside": func(*exec.Cmd) int {
			program, err := strconv.Atoi(strings.TrimSpace(s.must("inspect", "-f", "{{.State.Pid}}", "box")))
			if err != nil {
				t.Fatal(err)
			}
			return s.commitBeside(program)
		},
	} {
		client := s.command("builder", "commit", "box", "half")
		var said bytes.Buffer
		client.Stdout, client.Stderr = &said, &said
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		s.eventually("the container stands still", func() bool { return s.status() == "paused" })
		if err := syscall.Kill(victim(client), syscall.SIGKILL); err != nil {
			t.Fatalf("killing %s: %v", name, err)
		}
		if err := client.Wait(); err == nil {
			t.Errorf("after killing %s the command says that all went well: %s", name, &said)
		}
		s.eventually("the container goes on after killing "+name, func() bool { return s.status() == "running" })
		before := len(s.must("exec", "box", "cat", "/ticks"))
		s.eventually("its program does", func() bool { return len(s.must("exec", "box", "cat", "/ticks")) > before })
		if images := s.must("images", "-q", "half"); images != "" {
			t.Errorf("after killing %s there is an image: %s", name, images)
		}
	}
	s.must("commit", "box", "whole")
	if got := s.must("run", "--rm", "whole", "stat", "-c", "%s", "/big"); strings.TrimSpace(got) != "400000000" {
		t.Errorf("the image's file has %s bytes", got)
	}
	s.must("rm", "-f", strings.TrimSpace(id))
	s.must("system", "check")
}

// commits is a store with a container to commit.
type commits struct {
	*state
	t *testing.T
}

func newCommits(t *testing.T) *commits {
	t.Helper()
	state, err := newState()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = state.builder("rm", "-f", "box")
		if err := state.close(); err != nil {
			t.Error(err)
		}
	})
	if err := state.importBase("busybox"); err != nil {
		t.Fatal(err)
	}
	return &commits{state, t}
}

func (s *commits) must(args ...string) string {
	s.t.Helper()
	out, err := s.builder(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *commits) status() string {
	return strings.TrimSpace(s.must("inspect", "-f", "{{.State.Status}}", "box"))
}

// eventually waits until something is the case.
func (s *commits) eventually(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("after a minute it isn't so that %s", what)
		}
	}
}

// commitBeside gives the process that the monitor of a program has started for a
// commit.
func (s *commits) commitBeside(program int) int {
	s.t.Helper()
	monitor := parentOf(program)
	for p, line := range processesOf(s.dir) {
		if parentOf(p.pid) == monitor && strings.Contains(line, "commit") {
			return p.pid
		}
	}
	s.t.Fatal("no process commits inside")
	return 0
}

// parentOf gives the process that has started another one, 0 where that is gone.
func parentOf(pid int) int {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	_, rest, _ := strings.Cut(string(status), "\nPPid:")
	line, _, _ := strings.Cut(rest, "\n")
	parent, _ := strconv.Atoi(strings.TrimSpace(line))
	return parent
}
