package tests

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// stressEnv is how long TestTwentyAtOnce goes on, as 2m; without it each of the
// twenty does a few things.
const stressEnv = "BUILDER_TEST_STRESS"

// How many do something at once, and how often each where no time is given.
const (
	atOnce  = 20
	actions = 8
)

// TestTwentyAtOnce has twenty processes pull, tag, build, run, push, remove and
// prune on one store, with names that they take from each other. None may see an
// error that docker wouldn't give; each finds what is its own; and in the end the
// store is in order, and empty on the disk once everything is removed.
func TestTwentyAtOnce(t *testing.T) {
	s := newStress(t)
	until := time.Time{}
	if text := os.Getenv(stressEnv); text != "" {
		length, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", stressEnv, err)
		}
		until = time.Now().Add(length)
	}
	var all sync.WaitGroup
	for i := range atOnce {
		all.Go(func() {
			w := &worker{stress: s, number: i, rand: rand.New(rand.NewPCG(1, uint64(i)))}
			for n := 0; !t.Failed() && (until.IsZero() && n < actions || time.Now().Before(until)); n++ {
				w.act()
			}
		})
	}
	all.Wait()
	t.Logf("done: %v", s.done)
	s.inOrder()
	s.empties()
}

// stress is one store, a registry with a few images, and how often what was done.
type stress struct {
	*state
	t        *testing.T
	registry string
	context  string

	mu   sync.Mutex
	done map[string]int
}

// remote is how many images the registry has, and shared how many names all
// workers use.
const remote, shared = 4, 5

func newStress(t *testing.T) *stress {
	t.Helper()
	state, dir := newContext(t, "FROM busybox\nARG N\nRUN echo base $N > /base\nRUN head -c 300000 /dev/urandom > /large\n")
	registry, stop, err := startRegistry(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s := &stress{state: state, t: t, registry: registry, context: dir, done: map[string]int{}}
	for n := range remote {
		s.must("bud", "-q", "-t", s.remote(n), "--build-arg", fmt.Sprintf("N=%d", n), dir)
		s.must("push", "-q", s.remote(n))
	}
	s.must("rmi", "--all", "--force")
	s.must("cache", "prune", "-f")
	write(t, filepath.Join(dir, "Dockerfile"), "ARG FROM\nFROM $FROM AS helper\nARG N\nRUN echo $N > /helper\n"+
		"FROM $FROM\nARG N\nCOPY --from=helper /helper /copied\nRUN echo $N > /mine && head -c 100000 /dev/urandom > /random\n")
	return s
}

func (s *stress) remote(n int) string { return fmt.Sprintf("%s/base:%d", s.registry, n) }

func (s *stress) must(args ...string) string {
	s.t.Helper()
	out, err := s.builder(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// inOrder lets system check look at what twenty have left. The last of them may have
// had to leave something to the next command: that is told as harmless.
func (s *stress) inOrder() {
	s.t.Helper()
	if out, err := s.builder("system", "check"); err != nil || !strings.HasSuffix(out, order) {
		s.t.Errorf("system check: %v\n%s", err, out)
	}
}

// order is what system check says of a store that is in order.
const order = "The store is in order.\n"

// empties removes all images and the cache, and looks what is left.
func (s *stress) empties() {
	s.t.Helper()
	s.must("rmi", "--all", "--force")
	s.must("system", "prune", "--all", "--force")
	for _, dir := range []string{"images/blobs/sha256", "snapshots/records", "cache/steps", "containers"} {
		left, err := os.ReadDir(filepath.Join(s.root(), dir))
		if err != nil || len(left) > 0 {
			s.t.Errorf("left in %s: %v (%v)", dir, left, err)
		}
	}
	if out := s.must("system", "check"); out != order {
		s.t.Errorf("system check of an empty store:\n%s", out)
	}
}

// worker does one thing after the other.
type worker struct {
	*stress
	number int
	rand   *rand.Rand
}

// The errors that docker gives where somebody else was quicker.
var (
	noSuchImage = regexp.MustCompile(`^builder: no such image: `)
	mustStay    = regexp.MustCompile(noSuchImage.String() + `|^builder: conflict: unable to (delete|remove) `)
)

// act does one thing, chosen at random but alike in each run.
func (w *worker) act() {
	image, name := w.remote(w.rand.IntN(remote)), fmt.Sprintf("shared:%d", w.rand.IntN(shared))
	switch w.rand.IntN(22) {
	case 0, 1, 2:
		w.do("pull", "-q", image)
	case 3, 4:
		w.may(noSuchImage, "tag", image, name)
	case 5, 6, 7:
		w.build(image, name, fmt.Sprint("N=", w.rand.IntN(3)))
	case 8, 9, 10:
		w.buildOwn(image)
	case 11, 12:
		w.may(mustStay, "rmi", name)
	case 13:
		w.may(mustStay, "rmi", image)
	case 14:
		w.removeIDs()
	case 15:
		if out := w.do("run", "--rm", "--network", "none", image, "cat", "/base"); out != "base "+image[len(image)-1:]+"\n" {
			w.t.Errorf("run %s: %q", image, out)
		}
	case 16:
		w.do("image", "prune", "-f")
	case 17:
		w.do("cache", "prune", "-f")
	case 18:
		w.do("system", "df", "-v")
		w.do("images", "-a", "--digests")
	case 19:
		w.do("system", "prune", "-f")
	case 20:
		file := filepath.Join(w.dir, fmt.Sprintf("saved-%d.tar", w.number))
		w.may(noSuchImage, "save", "-o", file, name)
		if _, err := os.Stat(file); err == nil {
			w.do("load", "-q", "-i", file)
		}
	case 21:
		w.do("bud", "-q", "--pull", "--no-cache", "--network", "none", "-t", name, "--build-arg", "FROM="+image, w.context)
	}
}

func (w *worker) build(image, name, arg string) {
	w.do("bud", "-q", "--network", "none", "-t", name, "--build-arg", "FROM="+image, "--build-arg", arg, w.context)
}

// buildOwn builds an image that nobody else knows, runs it, and gives it away.
func (w *worker) buildOwn(image string) {
	own, n := fmt.Sprintf("own:%d", w.number), fmt.Sprintf("%d-%d", w.number, w.rand.Int())
	w.build(image, own, "N="+n)
	want := n + "\n" + n + "\n"
	if out := w.do("run", "--rm", "--network", "none", own, "cat", "/mine", "/copied"); out != want {
		w.t.Errorf("run %s: %q, not %q", own, out, want)
	}
	w.do("tag", own, own+"-too")
	w.do("push", "-q", own, fmt.Sprintf("%s/own-%d", w.registry, w.number))
	w.do("rmi", own, own+"-too")
}

// removeIDs removes what has a shared name, by its ids.
func (w *worker) removeIDs() {
	for id := range strings.FieldsSeq(w.do("images", "-q", "shared")) {
		w.may(mustStay, "rmi", id)
		w.may(mustStay, "rmi", "-f", id)
	}
}

// do runs builder, which has to succeed, and gives its standard output.
func (w *worker) do(args ...string) string { return w.may(nil, args...) }

// may is do for what may end with an error as well.
func (w *worker) may(allowed *regexp.Regexp, args ...string) string {
	if w.t.Failed() {
		return ""
	}
	cmd := w.command("builder", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || allowed == nil || !allowed.Match(stderr.Bytes())) {
		w.t.Errorf("builder %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[args[0]]++
	return stdout.String()
}
