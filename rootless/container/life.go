package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// errStopped says that a container was stopped while it was being started.
var errStopped = errors.New("the container was stopped before its program ran")

// life is the whole of it between creation and end.
func (m *Monitor) life(ctx context.Context, e *environment, first *First, begun func() error) (exit sandbox.Exit, err error) {
	cancel, err := e.begin(ctx, first)
	defer cancel()
	if err != nil {
		return sandbox.Exit{Code: fault.Code(err)}, err
	}
	defer context.AfterFunc(ctx, func() { m.stop("", nil) })()
	for delay := time.Duration(0); ; {
		since := time.Now()
		exit, err = m.once(context.WithoutCancel(ctx), e, begun)
		begun = func() error { return nil }
		renewed := err == nil && m.renewal()
		if !renewed && !m.again(exit, err) {
			return exit, err
		}
		if err := m.restarting(exit, !renewed); err != nil {
			return exit, err
		}
		delay = nextDelay(delay, time.Since(since))
		if renewed {
			continue
		}
		select {
		case <-m.stopping:
			return exit, nil
		case <-m.renew:
		case <-time.After(delay):
		}
	}
}

// begin prepares, as long as the first client is there and nobody stops it. What
// is prepared may use ctx until cancel is called.
func (e *environment) begin(ctx context.Context, first *First) (cancel func(), err error) {
	ctx, leave := first.While(ctx)
	starting, stop := context.WithCancelCause(ctx)
	prepared := make(chan struct{})
	defer close(prepared)
	go func() {
		select {
		case <-e.m.stopping:
			stop(errStopped)
		case <-prepared:
		}
	}()
	if err = e.prepare(starting); err != nil && context.Cause(starting) != nil {
		err = context.Cause(starting)
	}
	return func() {
		stop(nil)
		leave()
	}, err
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
	trusted, err := m.showTrust(rootfs)
	if err != nil {
		return err
	}
	mounts = append(mounts, trusted...)
	if m.streams.log, err = log.Open(m.dir, m.Config.Log); err != nil {
		return err
	}
	if e.spec.ID == "" {
		e.spec.ID = m.Config.ID
	}
	e.spec.RootFS, e.spec.Mounts = rootfs, append(e.spec.Mounts, mounts...)
	if m.Config.Init {
		if e.spec.Init, err = sandbox.FindInit(); err != nil {
			return err
		}
	}
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

// once runs the program once.
func (m *Monitor) once(ctx context.Context, e *environment, begun func() error) (exit sandbox.Exit, err error) {
	p, err := m.start(ctx, e)
	if err != nil {
		m.streams.wait()
		return sandbox.Exit{Code: fault.Code(err)}, err
	}
	// Whoever uses it is done before it is closed.
	defer func() {
		m.using.Wait()
		err = errors.Join(err, p.Close())
		m.streams.wait()
	}()
	defer m.ran()
	if err := m.running(p, e); err != nil {
		return exit, err
	}
	if err := begun(); err != nil {
		return exit, err
	}
	m.rest.soon()
	exit, err = p.Wait()
	m.ran()
	m.using.Wait() // nobody attaches any more
	m.streams.wait()
	return exit, err
}

// ran says that the program has ended.
func (m *Monitor) ran() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.program == nil {
		return
	}
	m.program = nil
	close(m.ended)
}

// start creates the program while its network comes up, and starts it then.
func (m *Monitor) start(ctx context.Context, e *environment) (_ *sandbox.Program, err error) {
	if err := e.reconnect(ctx); err != nil {
		return nil, err
	}
	spec := e.spec
	e.net.apply(&spec)
	spec.Size = m.streams.windowSize()
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
	if err := p.Start(); err != nil {
		return nil, err
	}
	m.streams.begin()
	return p, nil
}

// running records that the program runs.
func (m *Monitor) running(p *sandbox.Program, e *environment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.program, m.ended = p, make(chan struct{})
	select {
	case <-m.renew: // who wanted that has it
	default:
	}
	m.state.Status, m.state.StartedAt, m.state.FinishedAt = StatusRunning, time.Now().UTC(), time.Time{}
	m.state.ExitCode, m.state.OOMKilled, m.state.Error, m.state.Waits = 0, false, "", false
	m.state.Ports, m.state.IP, m.state.Boot = e.net.ports(), e.net.ip(), thisBoot()
	m.state.Files = e.net.files
	err := m.save()
	close(m.begun)
	m.begun = make(chan struct{})
	return err
}

// save records the state. What leaves nothing needn't be on the disk. Where that is
// full the present record is written over, which takes no room.
func (m *Monitor) save() error {
	path := filepath.Join(m.dir, stateFile)
	err := writeJSON(path, m.state, !m.Config.Remove)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = overJSON(path, m.state)
	}
	return err
}
