package container

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// defaultStopTimeout is docker's, in seconds.
const defaultStopTimeout = 10

// stop has the program end, and not start again: it gets a signal, and when it
// hasn't ended after the timeout it is killed.
func (m *Monitor) stop(name string, timeout *int) {
	m.stopOnce.Do(func() { close(m.stopping) })
	p, ended, err := m.current()
	if err != nil {
		return
	}
	if name == "" {
		name = m.Config.StopSignal
	}
	sig, err := ParseSignal(name)
	if err != nil || name == "" {
		sig = unix.SIGTERM
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
		_ = p.Signal(unix.SIGKILL)
	}
}

// signal passes a signal on. A kill, or the container's own signal to stop, ends
// its restarts too, as docker has it.
func (m *Monitor) signal(sig unix.Signal) error {
	p, _, err := m.current()
	if err != nil {
		return err
	}
	own, err := ParseSignal(m.Config.StopSignal)
	if err != nil || m.Config.StopSignal == "" {
		own = unix.SIGTERM
	}
	if sig == unix.SIGKILL || sig == own {
		m.stopOnce.Do(func() { close(m.stopping) })
	}
	if sig == unix.SIGKILL {
		_ = m.resume()
	}
	return p.Signal(sig)
}

func (m *Monitor) pause() error {
	p, _, err := m.current()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Status == StatusPaused {
		return fault.New("", "container %s is already paused", m.Config.ID)
	}
	if err := p.Pause(); err != nil {
		return err
	}
	m.state.Status = StatusPaused
	return m.save()
}

func (m *Monitor) resume() error {
	p, _, err := m.current()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Status != StatusPaused {
		return fault.New("", "container %s is not paused", m.Config.ID)
	}
	if err := p.Resume(); err != nil {
		return err
	}
	m.state.Status = StatusRunning
	return m.save()
}
