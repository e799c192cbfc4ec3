package container

import (
	"time"

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

// restarting records that the program is about to be started once more.
func (m *Monitor) restarting(exit sandbox.Exit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Status, m.state.FinishedAt = StatusRestarting, time.Now().UTC()
	m.state.ExitCode, m.state.OOMKilled = exit.Code, exit.OOM != nil
	m.state.Restarts++
	return m.save()
}
