package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/internal/fault"
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
	// Account looks up USER[:GROUP] in the accounts of the root mounted at rootfs.
	Account func(rootfs, user string) (Account, error)
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
	over     chan struct{} // closed when it has ended for good, and that is recorded

	rest   rest
	visits sync.RWMutex // held for reading by who is in the container's file system

	renew chan struct{}  // has one where the program is to be started again at its end
	using sync.WaitGroup // of the program

	mu     sync.Mutex
	rootfs string // where the container's file system is mounted
	state  State
	oom    *sandbox.OOM
	// oomUnknown is of the last program, as oom is.
	oomUnknown bool
	program    *sandbox.Program
	begun      chan struct{} // closed when the next program runs
	ended      chan struct{} // closed when the present one has ended
	next       *ending
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
	m := newMonitor(filepath.Join(dir, c.ID), c, State{Status: StatusCreated, Boot: thisBoot()})
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
	for deadline := time.Now().Add(patience); ; {
		m, err := tryOpen(dir, id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, Unknown(short(id))
		}
		if !errors.Is(err, errLocked) {
			return m, err
		}
		if _, s, err := Load(dir, id); err == nil && s.Lives() || time.Now().After(deadline) {
			return nil, ErrRunning
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// tryOpen fails with errLocked where the container has a monitor.
func tryOpen(dir, id string) (*Monitor, error) {
	own := filepath.Join(dir, id)
	lock, err := lockDir(own)
	if isMissing(err) && !isGoing(own) {
		lock, err = lockNew(own)
	}
	if err != nil {
		return nil, err
	}
	c, s, err := Load(dir, id)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if s.Lives() { // it has no monitor: the lock is ours
		s.Status = StatusDead
	}
	m := newMonitor(own, c, s)
	m.lock = lock
	return m, nil
}

// ErrRunning says that a container has a program already.
var ErrRunning = errors.New("the container is running already")

func newMonitor(dir string, c Config, s State) *Monitor {
	return &Monitor{
		Config: c, dir: dir, state: s, stopping: make(chan struct{}), over: make(chan struct{}),
		renew: make(chan struct{}, 1), begun: make(chan struct{}), next: newEnding(),
		streams: &streams{config: c, attached: map[*attachment]bool{}},
	}
}

// Leave records that a new container stays, without a monitor, until it is started.
func (m *Monitor) Leave() error {
	m.state.Waits = true
	return m.save()
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
	m.parts, m.state.Restarts = parts, 0
	defer func() { _ = m.lock.Close() }()
	defer m.rest.never()
	if first.attached != nil {
		m.streams.size = first.size
		m.streams.attach(first.attached)
	}
	server, err := m.listen()
	if err != nil {
		first.Tell(err)
		return errors.Join(err, m.finish(sandbox.Exit{Code: fault.Code(err)}, err))
	}
	runs := false
	e := &environment{m: m, spec: m.Config.Spec}
	exit, err := m.life(ctx, e, first, func() error {
		runs = true
		first.started(m, server)
		return m.parts.Started()
	})
	e.net.stop()
	err = errors.Join(err, m.streams.close())
	if len(m.Config.Ports) > 0 {
		// Whoever is told of the end may want them.
		err = errors.Join(err, e.close())
	}
	finished := m.finish(exit, err)
	if !runs {
		m.streams.detach(first.attached)
		first.Tell(err)
	}
	// The next monitor has a socket of its own as soon as it has the lock.
	server.hide()
	_ = m.lock.Close()
	finished = errors.Join(finished, e.close())
	server.close()
	return finished
}

// thisBoot names the machine's present boot, "" where nothing does.
func thisBoot() string {
	boot, _ := bootid.Get()
	return boot
}

// short gives an id as users see it.
func short(id string) string { return id[:min(len(id), 12)] }
