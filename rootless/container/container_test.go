package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		switch {
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
	sandbox     sandbox.Sandbox
}

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
		dir: filepath.Join(t.TempDir(), "containers"), rootfs: root, sandbox: sandbox.NewOCI(rt, "", true),
		config: Config{ID: NewID(), Image: "busybox", CreatedAt: time.Now().UTC(), Spec: sandbox.Spec{
			Args: []string{"/bin/busybox", "sh", "-c", script}, Env: []string{"PATH=/bin"},
			Network: network.ModeNone, StateDir: filepath.Join(t.TempDir(), "state"),
		}},
	}
}

func (f fixture) run(t *testing.T, streams Streams) (sandbox.Exit, error) {
	t.Helper()
	return Run(t.Context(), f.dir, f.config, f.sandbox, f.rootfs, streams)
}

func TestEndIsRecorded(t *testing.T) {
	f := newFixture(t, "busybox cat; exit 3")
	var out bytes.Buffer
	exit, err := f.run(t, Streams{In: strings.NewReader("hello"), Out: &out})
	if err != nil || exit.Code != 3 || out.String() != "hello" {
		t.Fatalf("exit %+v, error %v, output %q", exit, err, out.String())
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
	if exit, err := f.run(t, Streams{}); err != nil || exit.Code != 4 {
		t.Error(exit, err)
	}
	for _, dir := range []string{f.dir, f.config.Spec.StateDir} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("left in %s: %v (%v)", dir, entries, err)
		}
	}
}

func TestProgramThatCannotBeRunIsRecorded(t *testing.T) {
	f := newFixture(t, "")
	f.config.Spec.Args = []string{"/no/such/program"}
	exit, err := f.run(t, Streams{})
	if err == nil || exit.Code != 127 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
	if _, state, err := Load(f.dir, f.config.ID); err != nil || state.ExitCode != 127 || state.Error == "" {
		t.Errorf("state %+v, error %v", state, err)
	}
}

func TestRunningContainerHasAMonitor(t *testing.T) {
	f := newFixture(t, "echo up; busybox cat")
	f.config.Remove = true
	in, write := io.Pipe()
	read, out := io.Pipe()
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		_, _ = io.ReadFull(read, make([]byte, 3))
		if _, state, err := Load(f.dir, f.config.ID); err != nil || state.Status != StatusRunning {
			t.Errorf("while it runs: %+v, %v", state, err)
		}
		if err := Sweep(f.dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(f.dir, f.config.ID)); err != nil {
			t.Errorf("a living container was swept: %v", err)
		}
		_ = write.Close()
	}()
	if exit, err := f.run(t, Streams{In: in, Out: out}); err != nil || exit.Code != 0 {
		t.Error(exit, err)
	}
	<-checked
}

func TestSignalsAreForwarded(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		signals      []unix.Signal
		want         int
	}{
		{"handled", `trap "exit 7" TERM; echo up; while :; do busybox sleep 0.01; done`, []unix.Signal{unix.SIGTERM}, 7},
		{"handled interrupt", `trap "exit 8" INT; echo up; while :; do busybox sleep 0.01; done`, []unix.Signal{unix.SIGINT}, 8},
		{"insisted on", `trap "echo up" INT TERM; echo up; while :; do busybox sleep 0.01; done`, []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGINT}, 137},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, tc.script)
			read, out := io.Pipe()
			go func() {
				for _, sig := range tc.signals {
					_, _ = io.ReadFull(read, make([]byte, len("up\n")))
					_ = unix.Kill(os.Getpid(), sig)
				}
			}()
			exit, err := f.run(t, Streams{Out: out})
			if err != nil || exit.Code != tc.want {
				t.Errorf("exit %+v, error %v; want code %d", exit, err, tc.want)
			}
		})
	}
}

// awaitingSignal is a sandbox whose program ends by the first signal.
type awaitingSignal struct{}

func (awaitingSignal) Run(ctx context.Context, s sandbox.Spec) (sandbox.Exit, error) {
	select {
	case sig := <-s.Signals:
		return sandbox.Exit{Code: 128 + int(sig.(unix.Signal))}, nil
	case <-ctx.Done():
		return sandbox.Exit{}, context.Cause(ctx)
	}
}

func TestSignalThatWasCaughtBeforeIsForwarded(t *testing.T) {
	caught, stop := Catch()
	defer stop()
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	exit, err := Run(ctx, t.TempDir(), Config{ID: NewID()}, awaitingSignal{}, "", Streams{Signals: caught})
	if err != nil || exit.Code != 143 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
}

func TestEndOfContextKills(t *testing.T) {
	f := newFixture(t, "echo up; exec busybox sleep 600")
	f.config.Remove = true
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	read, out := io.Pipe()
	go func() {
		_, _ = io.ReadFull(read, make([]byte, 3))
		cancel(cause)
	}()
	if _, err := Run(ctx, f.dir, f.config, f.sandbox, f.rootfs, Streams{Out: out}); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

// dead makes what a killed monitor leaves behind.
func dead(t *testing.T, dir string, remove, whole bool) (id string) {
	t.Helper()
	m, err := newMonitor(dir, Config{ID: NewID(), Remove: remove})
	if err != nil {
		t.Fatal(err)
	}
	m.state.Status = StatusRunning
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	if !whole {
		if err := os.Remove(filepath.Join(m.dir, stateFile)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.lock.Close(); err != nil {
		t.Fatal(err)
	}
	return m.config.ID
}

func TestSweepRemovesWhatKilledMonitorsLeave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	if err := Sweep(dir); err != nil {
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
	if list := List(dir); len(list) != 1 || list[0].Config.ID != kept || list[0].State.Status != StatusExited {
		t.Errorf("listed: %+v", list)
	}
	found, err := Dead(dir)
	if err != nil || len(found) != 4 {
		t.Errorf("of four to be swept, found: %v (%v)", found, err)
	}
	if err := Sweep(dir); err != nil {
		t.Error(err)
	}
	for _, id := range []string{removed, half, lockless, aside} {
		if _, err := os.Stat(filepath.Join(dir, id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("still there: %v", err)
		}
	}
	if _, state, err := Load(dir, kept); err != nil || state.Status != StatusExited || state.ExitCode != 137 {
		t.Errorf("state %+v, error %v; want exited with 137", state, err)
	}
	if err := Remove(dir, kept); err != nil || len(List(dir)) != 0 {
		t.Errorf("removed: %v; left %v", err, List(dir))
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
				if err := Sweep(dir); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 300 {
		m, err := newMonitor(dir, Config{ID: NewID(), Remove: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(m.dir, configFile)); err != nil {
			t.Error(err)
		}
		if err := m.finish(sandbox.Exit{}, nil); err != nil {
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
	f := newFixture(t, "exit 0")
	if _, err := f.run(t, Streams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.run(t, Streams{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
}

func TestNewID(t *testing.T) {
	if a, b := NewID(), NewID(); len(a) != 64 || a == b {
		t.Errorf("ids %s, %s", a, b)
	}
}
