package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		switch {
		case slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzz") }):
			return m.Run() // what is fuzzed needs no namespace, and workers aren't entered
		case userns.Inside():
			if err := userns.Setup(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return m.Run()
		case os.Geteuid() == 0:
			return m.Run()
		}
		code, err := userns.Enter(context.Background(), userns.Options{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// fixture is a directory of containers and one to be run there.
type fixture struct {
	dir, rootfs string
	config      Config
	runtime     *sandbox.OCI
	ready       func(context.Context) error // nil for nothing
}

// plainRoot is a file system that is there and stays as it is.
type plainRoot string

func (r plainRoot) Mount(context.Context) (string, error) { return string(r), nil }
func (plainRoot) Sync() error                             { return nil }
func (plainRoot) Release() error                          { return nil }
func (plainRoot) Discard() error                          { return nil }

func newFixture(t *testing.T, script string) fixture {
	t.Helper()
	if !userns.Inside() {
		t.Skip("root of the machine needs no user namespace; run as an ordinary user: sudo -u USER go test ./rootless/container")
	}
	rt, err := sandbox.FindRuntime("")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "proc", "sys", "dev", "etc"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	return fixture{
		dir: filepath.Join(t.TempDir(), "containers"), rootfs: root, runtime: sandbox.NewOCI(rt, "", true),
		config: Config{
			ID: NewID(), Image: "busybox", CreatedAt: time.Now().UTC(), Network: Network{Mode: network.ModeNone},
			Spec: sandbox.Spec{Args: []string{"/bin/busybox", "sh", "-c", script}, Env: []string{"PATH=/bin"}},
		},
	}
}

// run has a monitor run the container, and gives its client.
func (f fixture) run(t *testing.T, s *Streams) *Client {
	t.Helper()
	m, err := Create(f.dir, f.config)
	if err != nil {
		t.Fatal(err)
	}
	return f.watch(t, m, s)
}

// watch has a monitor run its container in this process.
func (f fixture) watch(t *testing.T, m *Monitor, s *Streams) *Client {
	t.Helper()
	client, theirs, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(theirs.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if err := client.Begin("please", s); err != nil {
		t.Fatal(err)
	}
	var request string
	first, err := FirstClient(uintptr(fd), &request)
	if err != nil || request != "please" {
		t.Fatal(request, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- m.Run(context.WithoutCancel(t.Context()), Parts{
			Root: plainRoot(f.rootfs), Runtime: f.runtime, RunDir: t.TempDir(),
			Ready: func(ctx context.Context, _ string) ([]sandbox.Mount, error) {
				if f.ready == nil {
					return nil, nil
				}
				return nil, f.ready(ctx)
			},
			Started: func() error { return nil }, Removing: func() error { return nil },
		}, first)
	}()
	t.Cleanup(func() {
		_ = client.Close()
		if c, err := Dial(f.dir, f.config.ID); err == nil {
			now := 0
			_ = c.Stop("KILL", &now)
			_ = c.Close()
		}
		if err := <-ended; err != nil {
			t.Errorf("the monitor: %v", err)
		}
	})
	return client
}

// pipes gives streams, and the other ends of them.
func pipes(t *testing.T) (s *Streams, in io.WriteCloser, out io.Reader) {
	t.Helper()
	inTheirs, inOurs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outOurs, outTheirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{inTheirs, inOurs, outOurs, outTheirs} {
			_ = f.Close()
		}
	})
	return &Streams{In: inTheirs, Out: outTheirs}, inOurs, outOurs
}

func (f fixture) dial(t *testing.T) *Client {
	t.Helper()
	c, err := Dial(f.dir, f.config.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestEndIsRecorded(t *testing.T) {
	f := newFixture(t, "busybox cat; exit 3")
	f.config.OpenStdin, f.config.StdinOnce = true, true
	s, in, out := pipes(t)
	c := f.run(t, s)
	_ = s.Out.Close()
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	exit, err := c.End()
	printed, readErr := io.ReadAll(out)
	if err != nil || readErr != nil || exit.Code != 3 || string(printed) != "hello" {
		t.Fatalf("exit %+v, errors %v, %v, output %q", exit, err, readErr, printed)
	}
	config, state, err := Load(f.dir, f.config.ID)
	if err != nil {
		t.Fatal(err)
	}
	if state.Status != StatusExited || state.ExitCode != 3 || state.StartedAt.IsZero() || state.FinishedAt.Before(state.StartedAt) {
		t.Errorf("state %+v", state)
	}
	if config.Image != "busybox" || len(config.Spec.Args) != 4 || !config.CreatedAt.Equal(f.config.CreatedAt) {
		t.Errorf("config %+v", config)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	f := newFixture(t, "exit 4")
	f.config.Remove = true
	c := f.run(t, &Streams{})
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.End(); err != nil || exit.Code != 4 {
		t.Error(exit, err)
	}
	if entries, err := os.ReadDir(f.dir); err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v (%v)", f.dir, entries, err)
	}
}

func TestProgramThatCannotBeRunIsRecorded(t *testing.T) {
	f := newFixture(t, "")
	f.config.Spec.Args = []string{"/no/such/program"}
	c := f.run(t, nil)
	if err := c.Running(); err == nil || fault.Code(err) != 127 {
		t.Errorf("error %v", err)
	}
	if _, state, err := Load(f.dir, f.config.ID); err != nil || state.ExitCode != 127 || state.Error == "" || state.Status != StatusCreated {
		t.Errorf("state %+v, error %v", state, err)
	}
}

func TestStopOfAProgramThatDoesNotListen(t *testing.T) {
	f := newFixture(t, `trap "" TERM; echo up; while :; do busybox sleep 1; done`)
	s, _, out := pipes(t)
	c := f.run(t, s)
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, 3))
	if _, state, err := Load(f.dir, f.config.ID); err != nil || state.Status != StatusRunning {
		t.Errorf("while it runs: %+v, %v", state, err)
	}
	if err := Sweep(f.dir, withNothing); err != nil {
		t.Error(err)
	}
	now := 0
	if err := f.dial(t).Stop("", &now); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.End(); err != nil || exit.Code != 137 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
}

func TestSignalsReachTheProgram(t *testing.T) {
	f := newFixture(t, `trap "exit 7" USR1; echo up; while :; do busybox sleep 0.01; done`)
	s, _, out := pipes(t)
	c := f.run(t, s)
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, 3))
	if err := f.dial(t).Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.End(); err != nil || exit.Code != 7 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
}

func TestNothingIsDoneInsideWhereAPauseFails(t *testing.T) {
	f := newFixture(t, "echo up; exec busybox sleep 600")
	s, _, out := pipes(t)
	c := f.run(t, s)
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, 3))
	// A state that can't be recorded: a directory is in its place.
	state := filepath.Join(f.dir, f.config.ID, stateFile)
	if err := errors.Join(os.Rename(state, state+".kept"), os.MkdirAll(filepath.Join(state, "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	request := InsideRequest{Args: []string{"-test.run", "^$"}, Dir: "/", Pause: true}
	code, err := f.dial(t).Inside(t.Context(), request, null, null, null, func() unix.Signal { return unix.SIGTERM })
	if err == nil {
		t.Errorf("it was done, with code %d", code)
	}
	if err := errors.Join(os.RemoveAll(state), os.Rename(state+".kept", state)); err != nil {
		t.Fatal(err)
	}
}

func TestRestartOnFailureHasALimit(t *testing.T) {
	f := newFixture(t, "exit 5")
	f.config.Restart = Restart{RestartOnFailure, 2}
	c := f.run(t, &Streams{})
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.End(); err != nil || exit.Code != 5 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
	// Who is attached is so to the first of the programs.
	for {
		later, err := Dial(f.dir, f.config.ID)
		if errors.Is(err, ErrNotRunning) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = later.Wait()
		_ = later.Close()
	}
	if _, state, err := Load(f.dir, f.config.ID); err != nil || state.Restarts != 2 || state.Status != StatusExited {
		t.Errorf("state %+v, error %v", state, err)
	}
}

func TestStrangersOnTheSocketHarmNothing(t *testing.T) {
	f := newFixture(t, "echo up; exec busybox sleep 600")
	s, _, out := pipes(t)
	c := f.run(t, s)
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, 3))
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", "bmon", "bmon\x01\x00\xff\xff\xff\xff", "bmon\x01\x00\x00\x00\x00\x02{}", strings.Repeat("x", 1<<16)} {
		stranger := f.dial(t)
		_, _ = io.WriteString(stranger.conn, said)
		_ = stranger.Close()
	}
	if err := f.dial(t).ask("nonsense", nil); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an unknown request: %v", err)
	}
	if err := f.dial(t).Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.End(); err != nil || exit.Code != 137 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
}

func TestANameIsOnes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	m, err := Create(dir, Config{ID: NewID(), Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if _, err := Create(dir, Config{ID: NewID(), Name: "web"}); err == nil || !strings.Contains(err.Error(), m.Config.ID) {
		t.Errorf("error %v", err)
	}
}

// dead makes what a killed monitor leaves behind.
func dead(t *testing.T, dir string, remove, whole bool) (id string) {
	t.Helper()
	m, err := Create(dir, Config{ID: NewID(), Remove: remove})
	if err != nil {
		t.Fatal(err)
	}
	m.state.Status = StatusRunning
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	if !whole { // as a removal that was cut off
		if err := os.Remove(filepath.Join(m.dir, configFile)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.lock.Close(); err != nil {
		t.Fatal(err)
	}
	return m.Config.ID
}

func TestSweepRemovesWhatKilledMonitorsLeave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	if err := Sweep(dir, withNothing); err != nil {
		t.Errorf("without the directory: %v", err)
	}
	removed := dead(t, dir, true, true)
	half := dead(t, dir, false, false)
	kept := dead(t, dir, false, true)
	lockless, aside := NewID(), atomicfile.Prefix+"1"
	for _, name := range []string{lockless, aside} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if list := List(dir); len(list) != 1 || list[0].Config.ID != kept || list[0].State.Status != StatusDead {
		t.Errorf("listed: %+v", list)
	}
	found, err := Dead(dir)
	if err != nil || len(found) != 4 {
		t.Errorf("of four to be swept, found: %v (%v)", found, err)
	}
	if err := Sweep(dir, withNothing); err != nil {
		t.Error(err)
	}
	for _, id := range []string{removed, half, lockless, aside} {
		if _, err := os.Stat(filepath.Join(dir, id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("still there: %v", err)
		}
	}
	if _, state, err := Load(dir, kept); err != nil || state.Status != StatusDead || state.ExitCode != 137 {
		t.Errorf("state %+v, error %v; want dead with 137", state, err)
	}
	if left := List(dir); len(left) != 1 || left[0].Config.ID != kept {
		t.Errorf("left: %v", left)
	}
}

// withNothing is for containers that nothing goes with.
func withNothing(Config) error { return nil }

func TestSweepTellsOfEachContainerBeforeItGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	first, second := dead(t, dir, true, true), dead(t, dir, true, true)
	dead(t, dir, false, true)
	failed := errors.New("its volume can't be removed")
	told := map[string]bool{}
	err := Sweep(dir, func(c Config) error {
		told[c.ID] = true
		if _, err := os.Stat(filepath.Join(dir, c.ID, configFile)); err != nil {
			t.Error(err)
		}
		if m, err := tryOpen(dir, c.ID); !errors.Is(err, errLocked) {
			t.Errorf("not locked meanwhile: %v, %v", m, err)
		}
		if c.ID == second {
			return failed
		}
		return nil
	})
	if !errors.Is(err, failed) || len(told) != 2 || !told[first] || !told[second] {
		t.Errorf("told of %v, error %v", told, err)
	}
	if left, err := Dead(dir); err != nil || len(left) != 1 || filepath.Base(left[0]) != second {
		t.Errorf("left %v, error %v", left, err)
	}
}

func TestSweepLeavesWhatWaitsForItsStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	m, err := Create(dir, Config{ID: NewID(), Remove: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Leave(), m.Close(), Sweep(dir, withNothing)); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(t.Context(), dir, m.Config.ID); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSweepDoesNotTakeWhatIsBeingMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	done := make(chan struct{})
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := Sweep(dir, withNothing); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 100 {
		m, err := Create(dir, Config{ID: NewID(), Remove: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(m.dir, configFile)); err != nil {
			t.Error(err)
		}
		if err := m.Remove(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	sweeping.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func TestTwoContainersCannotHaveOneID(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	c := Config{ID: NewID()}
	m, err := Create(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if _, err := Create(dir, c); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
}

func TestNewID(t *testing.T) {
	if a, b := NewID(), NewID(); len(a) != 64 || a == b {
		t.Errorf("ids %s, %s", a, b)
	}
}
