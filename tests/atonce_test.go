package tests

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// rounds is how often two commands are run at once.
const rounds = 20

// outcome is how a command has ended.
type outcome struct {
	ok   bool
	said string
}

// atOnce runs builder several times at once. None of them may hang.
func (s *state) atOnce(t *testing.T, commands ...string) []outcome {
	t.Helper()
	outcomes := make([]outcome, len(commands))
	var running sync.WaitGroup
	for i, line := range commands {
		running.Go(func() {
			cmd := s.command("builder", strings.Fields(line)...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			late := time.AfterFunc(time.Minute, func() {
				t.Errorf("builder %s hangs", line)
				_ = cmd.Process.Kill()
			})
			defer late.Stop()
			err := cmd.Run()
			outcomes[i] = outcome{err == nil, said.String()}
		})
	}
	running.Wait()
	return outcomes
}

// TestTwoCommandsAtOnceOnOneContainer runs pairs of commands at once: each does what
// it is for, or says why the other was quicker, and the container is in one of the
// states that one after the other could have led to.
func TestTwoCommandsAtOnceOnOneContainer(t *testing.T) {
	for _, pair := range []struct {
		name, before string   // what is done first
		commands     []string // at once
		wins         string   // "both", "one", "any": how many succeed
		says         []string // what who loses may say
		states       []string // of the container; "" for none
	}{
		{"start and start", "create --name cc busybox sleep 1000", []string{"start cc", "start cc"}, "both", nil, []string{"running"}},
		{"start and rm", "create --name cc busybox sleep 1000", []string{"start cc", "rm cc"}, "one", []string{"is running", "o such container"}, []string{"running", ""}},
		{"start and rm -f", "create --name cc busybox sleep 1000", []string{"start cc", "rm -f cc"}, "any", []string{"o such container", "stopped before its program ran", "monitor has ended"}, []string{"running", ""}},
		{"start and stop", "create --name cc busybox sleep 1000", []string{"start cc", "stop -t 0 cc"}, "any", []string{"stopped before its program ran"}, []string{"running", "exited", "created"}},
		{"stop and stop", "run -d --name cc busybox sleep 1000", []string{"stop -t 0 cc", "stop -t 0 cc"}, "both", nil, []string{"exited"}},
		{"stop and kill", "run -d --name cc busybox sleep 1000", []string{"stop -t 0 cc", "kill cc"}, "any", []string{"is not running"}, []string{"exited"}},
		{"rm -f and rm -f", "run -d --name cc busybox sleep 1000", []string{"rm -f cc", "rm -f cc"}, "both", nil, []string{""}},
		{"rm and rm", "create --name cc busybox true", []string{"rm cc", "rm cc"}, "any", []string{"o such container"}, []string{""}},
		{"restart and stop", "run -d --name cc busybox sleep 1000", []string{"restart -t 0 cc", "stop -t 0 cc"}, "any", []string{"was stopped", "stopped before"}, []string{"running", "exited"}},
		{"restart and restart", "run -d --name cc busybox sleep 1000", []string{"restart -t 0 cc", "restart -t 0 cc"}, "both", nil, []string{"running"}},
		{"pause and stop", "run -d --name cc busybox sleep 1000", []string{"pause cc", "stop -t 0 cc"}, "any", []string{"is not running"}, []string{"exited"}},
		{"commit and stop", "run -d --name cc busybox sleep 1000", []string{"commit cc image", "stop -t 0 cc"}, "both", nil, []string{"exited"}},
		{"commit and rm -f", "run -d --name cc busybox sleep 1000", []string{"commit cc image", "rm -f cc"}, "any", []string{"o such container", "monitor has ended"}, []string{""}},
		{"exec and rm -f", "run -d --name cc busybox sleep 1000", []string{"exec cc true", "rm -f cc"}, "any", []string{"o such container", "is not running", "monitor has ended", killed}, []string{""}},
		// Names that no id can begin with.
		{"rename and rename", "create --name xx busybox true", []string{"rename xx yy", "rename xx zz"}, "one", []string{"o such container"}, []string{"created"}},
		{"rename and rm", "create --name cc busybox true", []string{"rename cc dd", "rm cc"}, "any", []string{"o such container"}, []string{"", "created"}},
		{"run and run", "images -q", []string{"run -d --name cc busybox sleep 1000", "run -d --name cc busybox sleep 1000"}, "one", []string{"already in use"}, []string{"running"}},
	} {
		t.Run(strings.ReplaceAll(pair.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			s := newContainers(t)
			for round := range rounds {
				s.must(t, strings.Fields(pair.before)...)
				outcomes := s.atOnce(t, pair.commands...)
				won := 0
				for i, o := range outcomes {
					if o.ok {
						won++
					} else if !o.saysOneOf(pair.says) {
						t.Errorf("round %d: %s says %s", round, pair.commands[i], o.said)
					}
				}
				if pair.wins == "one" && won != 1 || pair.wins == "both" && won != len(outcomes) || won == 0 {
					t.Errorf("round %d: %d succeed: %v", round, won, outcomes)
				}
				s.settle(t, round, pair.states)
			}
			if out := s.must(t, "system", "check"); !strings.Contains(out, "in order") {
				t.Error(out)
			}
			if err := s.quiet(); err != nil {
				t.Error(err)
			}
		})
	}
}

// settle looks at the one container that there is, or not, and removes it.
func (s *state) settle(t *testing.T, round int, states []string) {
	t.Helper()
	got := s.must(t, "ps", "-a", "--format", "{{.State}}")
	if !slices.Contains(states, got) {
		t.Fatalf("round %d: the container is %q, not one of %q", round, got, states)
	}
	if id := s.must(t, "ps", "-aq"); id != "" {
		s.must(t, "rm", "-f", id)
	}
}

// killed stands for the outcome of a program that has been killed, of which its own
// exit code tells.
const killed = "\x00"

func (o outcome) saysOneOf(parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool {
		return part == killed && o.said == "" || strings.Contains(o.said, part)
	})
}
