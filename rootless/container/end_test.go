package container

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// exited waits until a container's end is recorded.
func (f fixture) exited(t *testing.T) State {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, state, err := Load(f.dir, f.config.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !state.Lives() && state.Status != StatusCreated {
			return state
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is %s still", state.Status)
		}
	}
}

// What is printed here fits into three pipes, and not into the two that the client
// and the monitor fill while the program runs.
func TestAClientThatReadsLateHasAllAndHoldsUpNoEnd(t *testing.T) {
	const lines = 33000
	f := newFixture(t, "busybox seq 1 33000; exit 3")
	s, _, out := pipes(t)
	c := f.run(t, s)
	_ = s.Out.Close()
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	if state := f.exited(t); state.ExitCode != 3 {
		t.Errorf("state %+v", state)
	}
	text, err := io.ReadAll(out)
	if n := strings.Count(string(text), "\n"); err != nil || n != lines {
		t.Errorf("%d lines of %d (%v)", n, lines, err)
	}
	if exit, err := c.End(); err != nil || exit.Code != 3 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
}

func TestAClientThatReadsNothingIsForgottenWhenItGoes(t *testing.T) {
	f := newFixture(t, "busybox seq 1 1000000; exit 3")
	s, _, _ := pipes(t)
	c := f.run(t, s)
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	if _, state, err := Load(f.dir, f.config.ID); err != nil || state.Status != StatusRunning {
		t.Errorf("%+v, %v: the program doesn't wait for its reader", state, err)
	}
	_ = c.Close()
	if state := f.exited(t); state.ExitCode != 3 {
		t.Errorf("state %+v", state)
	}
}

func TestStopReachesAContainerThatIsBeingStarted(t *testing.T) {
	f := newFixture(t, "exec busybox sleep 600")
	there := make(chan struct{})
	f.ready = func(ctx context.Context) error {
		close(there)
		<-ctx.Done()
		return ctx.Err()
	}
	c := f.run(t, nil)
	<-there
	if err := f.dial(t).Stop("", nil); err != nil && !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if err := c.Running(); err == nil || !strings.Contains(err.Error(), errStopped.Error()) {
		t.Errorf("its client hears of %v", err)
	}
	if _, state, err := Load(f.dir, f.config.ID); err != nil || state.Status != StatusCreated || state.Error == "" {
		t.Errorf("state %+v, error %v", state, err)
	}
}

func TestRestartIsOneContainersWithoutItsEnd(t *testing.T) {
	f := newFixture(t, "echo up; exec busybox sleep 600")
	f.config.Remove = true
	s, _, out := pipes(t)
	c := f.run(t, s)
	if err := c.Running(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, 3))
	_, before, err := Load(f.dir, f.config.ID)
	if err != nil {
		t.Fatal(err)
	}
	now := 0
	if err := f.dial(t).Restart("KILL", &now); err != nil {
		t.Fatal(err)
	}
	// Who is attached is so to one program.
	if exit, err := c.End(); err != nil || exit.Code != 137 {
		t.Errorf("exit %+v, error %v", exit, err)
	}
	_, after, err := Load(f.dir, f.config.ID)
	if err != nil || after.Status != StatusRunning || !after.StartedAt.After(before.StartedAt) || after.Restarts != 0 {
		t.Errorf("before %+v, then %+v, %v", before, after, err)
	}
}

// A socket's name is the next monitor's as soon as that may begin.
func TestTheNextMonitorKeepsItsSocket(t *testing.T) {
	f := newFixture(t, "exec busybox sleep 600")
	f.config.StopSignal = "KILL"
	if err := f.run(t, nil).Running(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		waits := f.dial(t)
		ended := make(chan error, 1)
		go func() {
			_, err := waits.Wait()
			ended <- err
		}()
		if err := f.dial(t).Stop("", nil); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		m, err := Open(t.Context(), f.dir, f.config.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.watch(t, m, nil).Running(); err != nil {
			t.Fatal(err)
		}
		if err := f.dial(t).Pause(); err != nil {
			t.Fatal(err)
		}
	}
}
