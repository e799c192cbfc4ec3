package container

import (
	"context"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/userns"
)

// InsideRequest is a command of builder's own that is to be run where the
// container's file system is mounted.
type InsideRequest struct {
	Args []string // without the program's name
	Dir  string
	Env  []string `json:",omitempty"` // added to the monitor's
	// Pause keeps the container's programs from running meanwhile.
	Pause bool `json:",omitempty"`
}

// RootEnv tells such a command where the container's file system is mounted.
const RootEnv = "_BUILDER_CONTAINER_ROOT"

// serveInside runs it with the client's streams. The container goes on
// afterwards, however it ends.
func (m *Monitor) serveInside(ctx context.Context, c *conn, request *message) error {
	var r InsideRequest
	if err := request.decode(&r); err != nil {
		return err
	}
	if err := m.enter(); err != nil {
		return err
	}
	defer m.inside.Done()
	if r.Pause && m.pause() == nil {
		defer func() { _ = m.resume() }()
	}
	if err := m.parts.Root.Sync(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", r.Args...)
	cmd.Args[0] = "builder"
	cmd.Env = append(userns.Joining(), r.Env...)
	cmd.Env = append(cmd.Env, RootEnv+"="+m.rootfs)
	cmd.Dir = r.Dir
	for i, f := range request.files {
		switch i {
		case 0:
			cmd.Stdin = f
		case 1:
			cmd.Stdout = f
		case 2:
			cmd.Stderr = f
		}
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	request.close()
	if err := c.send(kindDone, nil); err != nil {
		cancel()
	}
	go func() {
		for {
			said, err := c.receive()
			if err != nil {
				cancel()
				return
			}
			said.close()
			var s signalRequest
			if said.Kind == kindSignal && said.decode(&s) == nil {
				_ = cmd.Process.Signal(unix.Signal(s.Signal))
			}
		}
	}()
	_ = cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return c.send(kindExit, Exit{Code: code})
}

// enter has the container's file system stay mounted until inside is done.
func (m *Monitor) enter() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.program == nil && m.state.Status != StatusRestarting {
		return m.errNotRunning()
	}
	m.inside.Add(1)
	return nil
}
