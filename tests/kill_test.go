package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moments is at how many points of a build something is killed.
const moments = 50

// TestKill kills processes of a build at moments spread over its length: now
// the command itself, now what runs beneath it. Each time everything beneath
// has to end, the store has to be sound as it stands, and the next build has
// to give, byte for byte, the image that an undisturbed one gave.
func TestKill(t *testing.T) {
	s := newBuild(t)
	want, length := s.undisturbed(t)
	t.Logf("an undisturbed build takes %v", length.Round(time.Millisecond))

	for i := range moments {
		moment := length * time.Duration(i+1) / moments
		victim := s.killAt(t, moment, i)
		if err := s.quietAfterKill(); err != nil {
			t.Fatalf("after killing %s at %v: %v", victim, moment, err)
		}
		if _, err := s.builder("system", "check"); err != nil {
			t.Fatalf("after killing %s at %v: %v", victim, moment, err)
		}
		got, err := s.digest("good")
		if err != nil {
			t.Fatalf("after killing %s at %v: %v", victim, moment, err)
		}
		if got != want {
			t.Fatalf("after killing %s at %v: the image is %s, not %s", victim, moment, got, want)
		}
	}
	if err := s.quiet(); err != nil {
		t.Error(err)
	}
}

// build is a store with a context to build in it.
type build struct {
	*state
	context string
}

const killDockerfile = `FROM busybox AS helper
COPY files /files
RUN cat /files/* > /all
FROM busybox
COPY files /files
RUN mkdir /made && for i in $(seq 200); do echo $i > /made/$i; done
RUN rm -r /made/1* && head -c 4000000 /dev/zero > /zeros
COPY --from=helper /all /
RUN sleep 0.2
`

func newBuild(t *testing.T) *build {
	t.Helper()
	state, err := newState()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := state.close(); err != nil {
			t.Error(err)
		}
	})
	if err := state.importBase("busybox"); err != nil {
		t.Fatal(err)
	}
	b := &build{state, filepath.Join(state.dir, "context")}
	files := filepath.Join(b.context, "files")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		write(t, filepath.Join(files, fmt.Sprint(i)), strings.Repeat(fmt.Sprintln(i), 1000))
	}
	write(t, filepath.Join(b.context, "Dockerfile"), killDockerfile)
	return b
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b *build) args(tag string, more ...string) []string {
	args := append([]string{"bud", "--timestamp", "1700000000", "-t", tag}, more...)
	return append(args, b.context)
}

// undisturbed builds without a cache, and gives the image's digest and how long
// that takes.
func (b *build) undisturbed(t *testing.T) (digest string, length time.Duration) {
	t.Helper()
	start := time.Now()
	if _, err := b.builder(b.args("undisturbed", "--no-cache")...); err != nil {
		t.Fatal(err)
	}
	length = time.Since(start)
	digest, err := b.digest("undisturbed")
	if err != nil {
		t.Fatal(err)
	}
	return digest, length
}

// digest builds, with what is cached, and gives the manifest's digest.
func (b *build) digest(tag string) (string, error) {
	if _, err := b.builder(b.args(tag)...); err != nil {
		return "", err
	}
	out, err := b.command("skopeo", "inspect", "--format", "{{.Digest}}", b.env()["OCI"]+":"+tag+":latest").Output()
	return strings.TrimSpace(string(out)), err
}

// killAt starts a build without a cache, kills one of its processes at a
// moment, waits for the command's end, and says what it killed. Every third
// time that is the command itself, else one of its descendants in turn.
func (b *build) killAt(t *testing.T, moment time.Duration, turn int) (victim string) {
	t.Helper()
	cmd := b.command("builder", b.args("victim", "--no-cache")...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(moment)
	target := cmd.Process.Pid
	if below := descendants(target); turn%3 != 0 && len(below) > 0 {
		target = below[turn%len(below)]
	}
	victim = fmt.Sprintf("%q", commandLine(target))
	// It may have ended by itself.
	if err := syscall.Kill(target, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("kill %d (%s): %v", target, victim, err)
	}

	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatalf("after killing %s at %v the build hangs:\n%s", victim, moment, &output)
	}
	return victim
}

// quietAfterKill is quiet, but for a session file: the next command sweeps it.
func (b *build) quietAfterKill() error {
	var left map[process]string
	for range 100 {
		if left = processesOf(b.dir); len(left) == 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("left running: %v", left)
}

// descendants gives the processes beneath one, in the order of their ids.
func descendants(ancestor int) []int {
	children := map[int][]int{}
	for _, pid := range pids() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		var state string
		var parent int
		rest := string(data[bytes.LastIndexByte(data, ')')+1:])
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && state != "Z" {
			children[parent] = append(children[parent], pid)
		}
	}
	var all []int
	for next := children[ancestor]; len(next) > 0; next = next[1:] {
		all = append(all, next[0])
		next = append(next, children[next[0]]...)
	}
	slices.Sort(all)
	return all
}
