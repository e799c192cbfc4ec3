package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// Root is a container's file system, as the storage keeps it.
type Root interface {
	// Mount makes it a directory like any other, and gives its path.
	Mount(ctx context.Context) (string, error)
	// Sync has everything written that programs have.
	Sync() error
	// Release ends Mount. What was changed stays.
	Release() error
	// Discard ends it too, and removes what was changed.
	Discard() error
}

// Runtime makes programs that wait for their start.
type Runtime interface {
	Create(ctx context.Context, s sandbox.Spec) (*sandbox.Program, error)
}

// Parts are what a monitor needs of others.
type Parts struct {
	Root    Root
	Runtime Runtime
	// RunDir is a private directory for the network's own files.
	RunDir string
	// Network is the namespace of the container whose network is shared; nil where
	// that is the host's.
	Network *os.File
	// Ready gives the mounts beside the root, which is mounted at rootfs.
	Ready func(ctx context.Context, rootfs string) ([]sandbox.Mount, error)
	// Started is called when the program runs: what was only needed for that can
	// be let go.
	Started func() error
	// Removing is called before a container is removed at its end: what else goes
	// with it is removed then. It may be nil.
	Removing func() error
}

// Monitor holds one container, whose lock it has.
type Monitor struct {
	Config Config

	parts Parts
	dir   string // the container's own
	lock  *os.File

	streams  *streams
	stopping chan struct{} // closed when the container is to stay ended
	stopOnce sync.Once
	over     chan struct{} // closed when it has ended for good

	visits sync.RWMutex // held for reading by who is in the container's file system

	mu      sync.Mutex
	rootfs  string // where the container's file system is mounted
	state   State
	oom     *sandbox.OOM
	program *sandbox.Program
	ended   chan struct{} // closed when the present program has ended
}

// Create makes a container in the directory dir of all. Its name must be no
// other's; without one it gets one.
func Create(dir string, c Config) (*Monitor, error) {
	if c.ID == "" {
		return nil, errors.New("a container needs an id")
	}
	names, err := lockNames(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = names.Close() }()
	if c.Name, err = freeName(dir, c.Name); err != nil {
		return nil, err
	}
	m := newMonitor(filepath.Join(dir, c.ID), c, State{Status: StatusCreated, Boot: bootID()})
	m.lock, err = makeDir(m.dir, func(aside string) error {
		if err := os.Mkdir(filepath.Join(aside, runDir), 0o700); err != nil {
			return err
		}
		if err := writeJSON(filepath.Join(aside, configFile), c, !c.Remove); err != nil {
			return err
		}
		return writeJSON(filepath.Join(aside, stateFile), m.state, !c.Remove)
	})
	if err != nil {
		return nil, fmt.Errorf("making container %s: %w", short(c.ID), err)
	}
	return m, nil
}

// patience is how long Open waits for a monitor whose program has ended.
const patience = 10 * time.Second

// Open takes over a container that has no program. It waits for a monitor that
// is still busy with the end of one.
func Open(ctx context.Context, dir, id string) (*Monitor, error) {
	own := filepath.Join(dir, id)
	for deadline := time.Now().Add(patience); ; {
		lock, err := lockDir(own)
		if err == nil {
			c, s, err := Load(dir, id)
			if err != nil && !errors.Is(err, errLocked) {
				_ = lock.Close()
				return nil, err
			}
			m := newMonitor(own, c, s)
			m.lock = lock
			return m, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		_, s, err := Load(dir, id)
		if err != nil {
			return nil, err
		}
		if s.Lives() || time.Now().After(deadline) {
			return nil, ErrRunning
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ErrRunning says that a container has a program already.
var ErrRunning = errors.New("the container is running already")

func newMonitor(dir string, c Config, s State) *Monitor {
	return &Monitor{
		Config: c, dir: dir, state: s, stopping: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{}),
		streams: &streams{config: c, attached: map[*attachment]bool{}},
	}
}

// Close lets go of a container whose program isn't run.
func (m *Monitor) Close() error { return m.lock.Close() }

// Remove removes it, and closes the monitor.
func (m *Monitor) Remove() error {
	return errors.Join(removeDir(m.dir), m.lock.Close())
}

// Run runs the container's program, again and again where its policy wants that,
// serves clients meanwhile, records how it fares, and removes the container where
// that is wanted. first hears that the program runs, or why it can't; when it goes
// before that, there is no program. The end of ctx stops the container as a
// client's request does.
func (m *Monitor) Run(ctx context.Context, parts Parts, first *First) error {
	m.parts = parts
	if first.attached != nil {
		m.streams.attach(first.attached)
	}
	server, err := m.listen()
	if err != nil {
		return errors.Join(err, m.finish(sandbox.Exit{}, err))
	}
	defer server.close()
	runs := false
	e := &environment{m: m, spec: m.Config.Spec}
	exit, err := m.life(ctx, e, first, func() {
		if !runs {
			runs = true
			first.started(m, server)
		}
	})
	e.net.stop()
	err = errors.Join(err, m.streams.close())
	if len(m.Config.Ports) > 0 {
		// Whoever is told of the end may want them.
		err = errors.Join(err, e.close())
	}
	finished := m.finish(exit, err)
	if !runs {
		first.Tell(err)
	}
	return errors.Join(finished, e.close())
}

// life is the whole of it between creation and end.
func (m *Monitor) life(ctx context.Context, e *environment, first *First, started func()) (exit sandbox.Exit, err error) {
	starting, cancel := first.While(ctx)
	defer cancel()
	if err := e.prepare(starting); err != nil {
		return sandbox.Exit{Code: fault.Code(err)}, err
	}
	defer context.AfterFunc(ctx, func() { m.stop("", nil) })()
	for delay := time.Duration(0); ; {
		begun := time.Now()
		exit, err = m.once(context.WithoutCancel(ctx), e, started)
		if !m.again(exit, err) {
			return exit, err
		}
		delay = nextDelay(delay, time.Since(begun))
		if err := m.restarting(exit); err != nil {
			return exit, err
		}
		select {
		case <-m.stopping:
			return exit, nil
		case <-time.After(delay):
		}
	}
}

// environment is what a container's programs run in, one after another.
type environment struct {
	m    *Monitor
	spec sandbox.Spec
	net  *connection
}

// prepare makes all that a program needs, the network beside the rest.
func (e *environment) prepare(ctx context.Context) (err error) {
	m := e.m
	if err := m.mountRun(); err != nil {
		return err
	}
	if e.net, err = m.connect(ctx); err != nil {
		return err
	}
	rootfs, err := m.parts.Root.Mount(ctx)
	if err != nil {
		return err
	}
	m.setMounted(rootfs)
	mounts, err := m.parts.Ready(ctx, rootfs)
	if err != nil {
		return err
	}
	if m.streams.log, err = log.Open(m.dir, m.Config.Log); err != nil {
		return err
	}
	if e.spec.ID == "" {
		e.spec.ID = m.Config.ID
	}
	e.spec.RootFS, e.spec.Mounts = rootfs, append(e.spec.Mounts, mounts...)
	e.spec.StateDir, e.spec.Terminal = m.runDir(), m.Config.Terminal
	return nil
}

// close ends the network, once.
func (e *environment) close() error {
	net := e.net
	e.net = nil
	if net == nil {
		return nil
	}
	return net.Close()
}

func (m *Monitor) runDir() string { return filepath.Join(m.dir, runDir) }

// mountRun gives the runtime a place that ends with this process: an empty file
// system that only its mount namespace knows.
func (m *Monitor) mountRun() error {
	if err := os.Mkdir(m.runDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	err := unix.Mount("tmpfs", m.runDir(), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700")
	if err != nil {
		return &os.PathError{Op: "mount", Path: m.runDir(), Err: err}
	}
	return nil
}

// settled is when a container counts as one that stays.
const settled = 500 * time.Millisecond

// once runs the program once.
func (m *Monitor) once(ctx context.Context, e *environment, started func()) (exit sandbox.Exit, err error) {
	p, err := m.start(ctx, e)
	if err != nil {
		return sandbox.Exit{Code: fault.Code(err)}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := m.running(p, e); err != nil {
		return exit, err
	}
	started()
	if err := m.parts.Started(); err != nil {
		return exit, err
	}
	later := time.AfterFunc(settled, giveBack)
	defer later.Stop()
	exit, err = p.Wait()
	m.mu.Lock()
	m.program = nil
	close(m.ended)
	m.mu.Unlock()
	m.streams.wait()
	return exit, err
}

// start creates the program while its network comes up, and starts it then.
func (m *Monitor) start(ctx context.Context, e *environment) (_ *sandbox.Program, err error) {
	spec := e.spec
	e.net.apply(&spec)
	if !m.Config.Terminal {
		ends, err := m.streams.open()
		if err != nil {
			return nil, err
		}
		defer ends.close()
		spec.Stdout, spec.Stderr = ends.out, ends.err
		if ends.in != nil {
			spec.Stdin = ends.in
		}
	}
	p, err := m.parts.Runtime.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if m.Config.Terminal {
		m.streams.connect(p.Terminal())
	}
	if err := e.net.ready(ctx); err != nil {
		return nil, err
	}
	return p, p.Start()
}

// running records that the program runs.
func (m *Monitor) running(p *sandbox.Program, e *environment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.program, m.ended = p, make(chan struct{})
	m.state.Status, m.state.StartedAt, m.state.FinishedAt = StatusRunning, time.Now().UTC(), time.Time{}
	m.state.ExitCode, m.state.OOMKilled, m.state.Error = 0, false, ""
	m.state.Ports, m.state.IP, m.state.Boot = e.net.ports(), e.net.ip(), bootID()
	m.state.Files = e.net.files
	return m.save()
}

// save records the state. What leaves nothing needn't be on the disk.
func (m *Monitor) save() error { return m.write(stateFile, m.state) }

func (m *Monitor) write(name string, v any) error {
	return writeJSON(filepath.Join(m.dir, name), v, !m.Config.Remove)
}

// finish records the end, or removes the container where that is wanted.
func (m *Monitor) finish(exit sandbox.Exit, failed error) error {
	defer func() { _ = m.lock.Close() }()
	defer close(m.over)
	if m.Config.Remove {
		m.closeFiles()
		err := errors.Join(m.parts.Root.Discard(), m.unmountRun(), m.removing(), removeDir(m.dir))
		m.end(exit, failed)
		return err
	}
	// Who asks is told at once; what is mounted goes after that.
	m.end(exit, failed)
	err := m.save()
	m.closeFiles()
	return errors.Join(err, m.parts.Root.Release(), m.unmountRun())
}

func (m *Monitor) removing() error {
	if m.parts.Removing == nil {
		return nil
	}
	return m.parts.Removing()
}

func (m *Monitor) unmountRun() error {
	err := unix.Unmount(m.runDir(), unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) {
		return nil // it was never mounted
	}
	return err
}

// end sets the state of a container whose program has ended.
func (m *Monitor) end(exit sandbox.Exit, failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Status, m.state.FinishedAt = StatusExited, time.Now().UTC()
	m.state.ExitCode, m.state.OOMKilled, m.oom = exit.Code, exit.OOM != nil, exit.OOM
	m.state.Ports, m.state.IP, m.state.Files = nil, "", Files{}
	if failed != nil {
		m.state.Error = failed.Error()
		if m.state.StartedAt.IsZero() {
			m.state.Status = StatusCreated // as docker has it: it never ran
		}
	}
}

// bootID names the machine's present boot.
func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

// short gives an id as users see it.
func short(id string) string { return id[:min(len(id), 12)] }
