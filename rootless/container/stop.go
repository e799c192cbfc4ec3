package container

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// defaultStopTimeout is docker's, in seconds.
const defaultStopTimeout = 10

// stop has the program end, and not start again: it gets a signal, and when it
// hasn't ended after the timeout it is killed. It returns when that is recorded.
func (m *Monitor) stop(name string, timeout *int) {
	m.stay()
	for {
		m.mu.Lock()
		p, ended, begun := m.program, m.ended, m.begun
		m.mu.Unlock()
		if p != nil {
			m.endProgram(p, ended, name, timeout)
		}
		select {
		case <-begun: // it had been started already
		case <-m.over:
			return
		}
	}
}

// stay has the container stay ended at its program's end, and ends what comes
// before its start.
func (m *Monitor) stay() { m.stopOnce.Do(func() { close(m.stopping) }) }

// endProgram signals a program, and kills it where it hasn't ended after the
// timeout.
func (m *Monitor) endProgram(p *sandbox.Program, ended <-chan struct{}, name string, timeout *int) {
	sig, err := ParseSignal(name)
	if err != nil {
		sig = m.stopSignal()
	}
	_ = m.resume() // a paused one couldn't answer
	_ = p.Signal(sig)
	seconds := defaultStopTimeout
	if m.Config.StopTimeout != nil {
		seconds = *m.Config.StopTimeout
	}
	if timeout != nil {
		seconds = *timeout
	}
	var late <-chan time.Time
	if seconds >= 0 {
		late = time.After(time.Duration(seconds) * time.Second)
	}
	select {
	case <-ended:
	case <-late:
		_ = m.resume()
		m.kills()
		_ = p.Signal(unix.SIGKILL)
		<-ended
	}
}

// stopSignal is what asks the program to end.
func (m *Monitor) stopSignal() unix.Signal {
	if sig, err := ParseSignal(m.Config.StopSignal); err == nil {
		return sig
	}
	return unix.SIGTERM
}

// signal passes a signal on. A kill, or the container's own signal to stop, ends
// its restarts too, as docker has it.
func (m *Monitor) signal(sig unix.Signal) error {
	ends := sig == unix.SIGKILL || sig == m.stopSignal()
	lived := !m.isOver()
	if ends {
		m.stay()
	}
	if m.waits(ends) {
		return nil
	}
	p, done, err := m.use()
	if err != nil && ends && lived {
		return nil // between two programs, and there is no other one
	}
	if err != nil {
		return err
	}
	defer done()
	if ends {
		_ = m.resume()
	}
	if sig == unix.SIGKILL {
		m.kills()
	}
	return p.Signal(sig)
}

// kills notes that the program is killed because somebody wants it.
func (m *Monitor) kills() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next.killed = true
}

// waits tells whether there is no program at the moment, though one is going to be,
// so that a signal has nobody to go to. One that ends programs ends that as well.
func (m *Monitor) waits(ends bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.isOver() && m.program == nil && (ends || m.state.Status == StatusRestarting)
}

// isOver tells whether the container has ended for good.
func (m *Monitor) isOver() bool {
	select {
	case <-m.over:
		return true
	default:
		return false
	}
}

// hold keeps the programs from running until thaw is called. Those that are paused
// stay so, and where none runs there is nothing to be held.
func (m *Monitor) hold() (thaw func(), err error) {
	switch err := m.pause(); {
	case err == nil:
		// That it has ended meanwhile, or that somebody else has let it go on, is
		// no error.
		return func() { _ = m.resume() }, nil
	case errors.Is(err, errPaused), errors.Is(err, ErrNotRunning), errors.Is(err, errRestarting):
		return func() {}, nil
	default:
		return nil, err
	}
}

var errPaused = errors.New("already paused")

func (m *Monitor) pause() error {
	return m.become(StatusPaused, func(p *sandbox.Program) error {
		if m.state.Status == StatusPaused {
			return fault.New("", "container %s is %w", m.Config.ID, errPaused)
		}
		return p.Pause()
	})
}

func (m *Monitor) resume() error {
	return m.become(StatusRunning, func(p *sandbox.Program) error {
		if m.state.Status != StatusPaused {
			return fault.New("", "container %s is not paused", m.Config.ID)
		}
		return p.Resume()
	})
}

// become records that a program has another status, once fn has brought that about.
// The state stays as it is meanwhile. A program whose pause can't be recorded goes
// on.
func (m *Monitor) become(status Status, fn func(*sandbox.Program) error) error {
	p, done, err := m.use()
	if err != nil {
		return err
	}
	defer done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := fn(p); err != nil {
		return err
	}
	m.state.Status = status
	if err = m.save(); err != nil && status == StatusPaused {
		m.state.Status = StatusRunning
		err = errors.Join(err, p.Resume())
	}
	return err
}
