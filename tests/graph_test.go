package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Two stages side by side, and one that waits for both. Each RUN asks the test
// whether it may go on. TURN makes every turn's steps new ones.
const askingDockerfile = `FROM busybox AS a
ARG PORT TURN
RUN echo a1 | nc 127.0.0.1 $PORT | grep go > /a1
RUN echo a2 | nc 127.0.0.1 $PORT | grep go > /a2
FROM busybox AS b
ARG PORT TURN
RUN echo b1 | nc 127.0.0.1 $PORT | grep go > /b1
RUN echo b2 | nc 127.0.0.1 $PORT | grep go > /b2
FROM busybox
ARG PORT TURN
COPY --from=a /a2 /
COPY --from=b /b2 /
RUN echo c1 | nc 127.0.0.1 $PORT | grep go > /c1
`

// precedes tells which steps are finished when one asks.
var precedes = map[string][]string{"a2": {"a1"}, "b2": {"b1"}, "c1": {"a1", "a2", "b1", "b2"}}

// askingLines are the lines of the RUNs.
var askingLines = map[string]int{"a1": 3, "a2": 4, "b1": 7, "b2": 8, "c1": 13}

// TestResume ends builds at each of their steps: kills and interrupts them, and
// lets a step fail. The next build executes what was unfinished, of all stages,
// and nothing else.
func TestResume(t *testing.T) {
	s, asked := newAsking(t)
	for _, how := range []string{"kill", "interrupt", "fail"} {
		for at := range len(askingLines) {
			t.Run(fmt.Sprintf("%s at the step asking as number %d", how, at+1), func(t *testing.T) {
				turn := fmt.Sprintf("%s-%d", how, at)
				finished := s.endAt(t, asked, turn, how, at)
				again := s.rest(t, asked, turn)
				for _, step := range again {
					if slices.Contains(finished, step) {
						t.Errorf("%s was finished, and executed once more", step)
					}
				}
				if want := len(askingLines) - len(finished); len(again) > want || len(again) == 0 {
					t.Errorf("executed again: %v; finished before: %v", again, finished)
				}
			})
		}
	}
	if err := s.quietAfterKill(); err != nil {
		t.Error(err)
	}
}

// TestTakesOver kills the build that makes a step while another waits for it:
// that one makes it itself.
func TestTakesOver(t *testing.T) {
	s, asked := newAsking(t)
	first, _ := s.start(t, asked, "shared", "--target", "a")
	step := <-asked.steps
	for _, pid := range descendants(first.Process.Pid) {
		if line := commandLine(pid); strings.Contains(line, "seccomp-") {
			t.Errorf("what compiled the seccomp profile is still there: %s", line)
		}
	}
	second, output := s.start(t, asked, "shared", "--target", "a")
	output.wait(t, "RUN echo a1")
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	_ = step.conn.Close()
	for _, want := range []string{"a1", "a2"} {
		if step = <-asked.steps; step.name != want {
			t.Fatalf("%s asks, not %s", step.name, want)
		}
		step.answer("go")
	}
	if err := second.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := s.quietAfterKill(); err != nil {
		t.Error(err)
	}
	s.rest(t, asked, "after") // clears the killed one's session away
}

// asking is where the steps' questions arrive.
type asking struct {
	port  int
	steps chan question
}

type question struct {
	name string
	conn net.Conn
}

func (q question) answer(word string) {
	_, _ = fmt.Fprintln(q.conn, word) // who was killed doesn't listen
	_ = q.conn.Close()
}

func newAsking(t *testing.T) (*build, *asking) {
	t.Helper()
	s := newBuild(t)
	write(t, filepath.Join(s.context, "Dockerfile"), askingDockerfile)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &asking{port: l.Addr().(*net.TCPAddr).Port, steps: make(chan question, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				q := question{conn: conn}
				if _, err := fmt.Fscanln(conn, &q.name); err == nil {
					a.steps <- q
				}
			}()
		}
	}()
	return s, a
}

func (b *build) start(t *testing.T, a *asking, turn string, more ...string) (*exec.Cmd, *watched) {
	t.Helper()
	args := slices.Concat([]string{"--network", "host", "--build-arg", fmt.Sprint("PORT=", a.port), "--build-arg", "TURN=" + turn}, more)
	cmd := b.command("builder", b.args("asking", args...)...)
	output := &watched{grown: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output
}

// endAt lets all steps go on but the last that is let ask: there the build ends.
// It gives the steps that were finished then.
func (b *build) endAt(t *testing.T, a *asking, turn, how string, at int) (finished []string) {
	t.Helper()
	cmd, output := b.start(t, a, turn)
	var last question
	for range at {
		q := <-a.steps
		finished = append(finished, precedes[q.name]...)
		q.answer("go")
	}
	last = <-a.steps
	finished = append(finished, precedes[last.name]...)
	switch how {
	case "kill":
		_ = cmd.Process.Kill()
	case "interrupt":
		_ = cmd.Process.Signal(syscall.SIGINT)
	case "fail":
		last.answer("no")
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the build ends with %v\n%s", err, output)
	}
	if place := fmt.Sprintf("Dockerfile:%d: RUN echo %s", askingLines[last.name], last.name); how == "fail" && !strings.Contains(output.String(), place) {
		t.Errorf("the error doesn't name %q:\n%s", place, output)
	}
	if err := b.quietAfterKill(); err != nil {
		t.Fatal(err)
	}
	_ = last.conn.Close()
	a.drop()
	slices.Sort(finished)
	return slices.Compact(finished)
}

// drop forgets the questions of those who have ended.
func (a *asking) drop() {
	for {
		select {
		case q := <-a.steps:
			_ = q.conn.Close()
		default:
			return
		}
	}
}

// rest builds to the end, and gives the steps that were executed.
func (b *build) rest(t *testing.T, a *asking, turn string) (executed []string) {
	t.Helper()
	cmd, output := b.start(t, a, turn)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case q := <-a.steps:
			executed = append(executed, q.name)
			q.answer("go")
		case err := <-done:
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			return executed
		}
	}
}

// watched is output that can be waited for.
type watched struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.grown <- struct{}{}:
	default:
	}
	return w.buf.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *watched) wait(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.grown:
		case <-time.After(time.Minute):
			t.Fatalf("%q doesn't appear:\n%s", text, w)
		}
	}
}
