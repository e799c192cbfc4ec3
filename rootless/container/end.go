package container

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/sandbox"
)

// ending is the end of a program, of which there may be several one after another.
type ending struct {
	done   chan struct{} // closed when exit is known, and recorded
	exit   Exit
	killed bool // by who asked the monitor for it
}

func newEnding() *ending { return &ending{done: make(chan struct{})} }

// nextEnd is the end of the program that runs, or is about to.
func (m *Monitor) nextEnd() *ending {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next
}

// tellEnd tells who waits for a program's end. m.mu is held.
func (m *Monitor) tellEnd() {
	m.next.exit = Exit{Code: m.state.ExitCode, OOMKilled: m.state.OOMKilled, Error: m.state.Error, OOM: m.oom}
	m.next.exit.Unexplained = m.oomUnknown && m.state.ExitCode == 128+int(unix.SIGKILL) && !m.next.killed
	close(m.next.done)
}

// finish records the end, or removes the container where that is wanted.
func (m *Monitor) finish(exit sandbox.Exit, failed error) error {
	if m.Config.Remove {
		m.closeFiles()
		err := errors.Join(m.parts.Root.Discard(), m.unmountRun(), m.removing(), removeDir(m.dir))
		_ = m.end(exit, failed, func() error { return nil })
		return err
	}
	// Who asks is told at once; what is mounted goes after that.
	err := m.end(exit, failed, m.save)
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

// end sets the state of a container whose program has ended for good, and tells
// it.
func (m *Monitor) end(exit sandbox.Exit, failed error, save func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Status, m.state.FinishedAt = StatusExited, time.Now().UTC()
	m.state.ExitCode, m.state.OOMKilled, m.oom = exit.Code, exit.OOM != nil, exit.OOM
	m.oomUnknown = exit.OOMUnknown
	m.state.Ports, m.state.IP, m.state.Files = nil, "", Files{}
	if failed != nil {
		m.state.Error = failed.Error()
		if m.state.StartedAt.IsZero() {
			m.state.Status = StatusCreated // as docker has it: it never ran
		}
	}
	err := save()
	m.tellEnd()
	close(m.over)
	return err
}
