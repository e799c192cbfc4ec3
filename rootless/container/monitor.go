package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/builder-oci/builder/rootless/sandbox"
	"golang.org/x/sys/unix"
)

// forwarded are the signals that a monitor passes on. The others either can't
// be caught or concern the monitor's own work.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

// insistence is how many requests to end a program may ignore, as docker has
// it. A program that is process 1 and handles no signals ignores every one.
const insistence = 3

// Run makes the container c in the directory dir of all containers, runs its
// program in sb on the root file system rootfs, and records its end. It is the
// monitor, and returns when the container has ended.
//
// Until then the signals go to the program, but the third SIGINT or SIGTERM
// kills it. So does the end of ctx, which therefore mustn't come from a signal.
// With c.Remove nothing is left of the container.
func Run(ctx context.Context, dir string, c Config, sb sandbox.Sandbox, rootfs string, streams Streams) (sandbox.Exit, error) {
	m, err := newMonitor(dir, c)
	if err != nil {
		return sandbox.Exit{}, fmt.Errorf("making container %s: %w", short(c.ID), err)
	}
	exit, err := m.run(ctx, sb, rootfs, streams)
	if finished := m.finish(exit, err); finished != nil {
		err = errors.Join(err, fmt.Errorf("recording the end of container %s: %w", short(c.ID), finished))
	}
	return exit, err
}

// monitor is one container's.
type monitor struct {
	dir    string // the container's own
	config Config
	state  State
	lock   *os.File
}

func newMonitor(dir string, c Config) (_ *monitor, err error) {
	if c.ID == "" {
		return nil, errors.New("it has no id")
	}
	m := &monitor{dir: filepath.Join(dir, c.ID), config: c, state: State{Status: StatusCreated}}
	m.lock, err = makeDir(m.dir, func(aside string) error {
		if err := writeJSON(filepath.Join(aside, configFile), c); err != nil {
			return err
		}
		return writeJSON(filepath.Join(aside, stateFile), m.state)
	})
	return m, err
}

func (m *monitor) save() error { return writeJSON(filepath.Join(m.dir, stateFile), m.state) }

func (m *monitor) run(ctx context.Context, sb sandbox.Sandbox, rootfs string, streams Streams) (sandbox.Exit, error) {
	m.state.Status, m.state.StartedAt = StatusRunning, time.Now().UTC()
	if err := m.save(); err != nil {
		return sandbox.Exit{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	received := streams.Signals
	if received == nil {
		caught, stop := Catch()
		defer stop()
		received = caught
	}
	passed := make(chan os.Signal, 16)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		forward(received, passed, done, cancel)
	}()
	defer func() { close(done); <-ended }()

	spec := m.config.Spec
	spec.RootFS, spec.Signals = rootfs, passed
	if spec.ID == "" {
		spec.ID = m.config.ID
	}
	spec.Stdin, spec.Stdout, spec.Stderr = streams.In, streams.Out, streams.Err
	exit, err := sb.Run(ctx, spec)
	if errors.Is(err, errInsisted) {
		return sandbox.Exit{Code: 128 + int(unix.SIGKILL), Signal: int(unix.SIGKILL)}, nil
	}
	return exit, err
}

// Catch has this process's signals come to a channel, for Streams, until stop is
// called. Who ends on signals before he calls Run catches them first, and looks
// then whether one has come: so none is lost in between.
func Catch() (signals <-chan os.Signal, stop func()) {
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, forwarded...)
	return caught, func() { signal.Stop(caught) }
}

// errInsisted is the reason of a kill that the user asked for by repeating
// himself.
var errInsisted = errors.New("the program was asked to end several times and didn't")

// forward hands signals to the sandbox until done is closed.
func forward(received <-chan os.Signal, passed chan<- os.Signal, done <-chan struct{}, kill context.CancelCauseFunc) {
	asked := 0
	for {
		select {
		case <-done:
			return
		case sig := <-received:
			if sig == unix.SIGINT || sig == unix.SIGTERM {
				if asked++; asked >= insistence {
					kill(errInsisted)
					return
				}
			}
			select {
			case passed <- sig:
			case <-done:
				return
			}
		}
	}
}

// finish records the end, or removes the container where that is wanted.
func (m *monitor) finish(exit sandbox.Exit, runErr error) error {
	defer func() { _ = m.lock.Close() }()
	if m.config.Remove {
		return removeDir(m.dir)
	}
	m.state.Status, m.state.FinishedAt = StatusExited, time.Now().UTC()
	m.state.ExitCode, m.state.OOMKilled = exit.Code, exit.OOM != nil
	if runErr != nil {
		m.state.Error = runErr.Error()
	}
	return m.save()
}

// short gives an id as users see it.
func short(id string) string { return id[:min(len(id), 12)] }
