package container

import (
	"cmp"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// The pauses before a restart are docker's: each is twice the one before, and a
// program that ran for a while begins anew.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = time.Minute
	longEnough = 10 * time.Second
)

func nextDelay(before, ran time.Duration) time.Duration {
	if before == 0 || ran >= longEnough {
		return firstDelay
	}
	return min(2*before, lastDelay)
}

// again tells whether the program is to be started once more.
func (m *Monitor) again(exit sandbox.Exit, failed error) bool {
	select {
	case <-m.stopping:
		return false
	default:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.Config.Restart
	switch r.Policy {
	case RestartAlways, RestartUnlessStopped:
		return failed == nil
	case RestartOnFailure:
		return failed == nil && exit.Code != 0 && (r.Retries == 0 || m.state.Restarts < r.Retries)
	}
	return false
}

// renewal tells whether somebody wants the program to be started again.
func (m *Monitor) renewal() bool {
	select {
	case <-m.stopping:
		return false
	default:
	}
	select {
	case <-m.renew:
		return true
	default:
		return false
	}
}

// restarting records that the program is about to be started once more: by itself,
// or because somebody wants it.
func (m *Monitor) restarting(exit sandbox.Exit, itself bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Status, m.state.FinishedAt = StatusRestarting, time.Now().UTC()
	m.state.ExitCode, m.state.OOMKilled, m.oom = exit.Code, exit.OOM != nil, exit.OOM
	m.oomUnknown = exit.OOMUnknown
	if itself {
		m.state.Restarts++
	}
	err := m.save()
	m.tellEnd()
	m.next = newEnding()
	return err
}

// restart has the program end as stop does, and start again. Of one that has ended
// and is to be restarted later, it ends the waiting.
func (m *Monitor) restart(name string, timeout *int) error {
	m.mu.Lock()
	p, ended, begun := m.program, m.ended, m.begun
	select {
	case m.renew <- struct{}{}:
	default: // somebody else wants it as well
	}
	m.mu.Unlock()
	if p != nil {
		m.endProgram(p, ended, name, timeout)
	}
	select {
	case <-begun:
		return nil
	case <-m.over:
		return fault.New("", "%s", cmp.Or(m.nextEnd().exit.Error, "the container was stopped"))
	}
}
