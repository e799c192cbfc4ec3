package container

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// ExecRequest is one more program for a running container.
type ExecRequest struct {
	Exec         sandbox.Exec
	Detached     bool `json:",omitempty"` // it outlives the client
	In, Out, Err bool // the client's own, which come along
}

// serveExec runs a program beside the container's own. The client's streams are
// the program's, or the client gets its terminal; a client that goes takes the
// program with it.
func (m *Monitor) serveExec(ctx context.Context, c *conn, request *message) error {
	var r ExecRequest
	if err := request.decode(&r); err != nil {
		return err
	}
	p, done, err := m.use()
	if err != nil {
		return err
	}
	defer done()
	m.mu.Lock()
	paused := m.state.Status == StatusPaused
	m.mu.Unlock()
	if paused {
		return fault.New("builder unpause "+short(m.Config.ID), "container %s is paused, unpause the container before exec", m.Config.ID)
	}
	files := request.files
	for _, s := range []struct {
		wanted bool
		to     **os.File
	}{{r.In, &r.Exec.Stdin}, {r.Out, &r.Exec.Stdout}, {r.Err, &r.Exec.Stderr}} {
		if s.wanted && len(files) > 0 {
			*s.to, files = files[0], files[1:]
		}
	}
	running, err := p.Exec(ctx, r.Exec)
	if err != nil {
		return err
	}
	request.close() // the program has its own
	var terminal []*os.File
	if t := running.Terminal(); t != nil {
		terminal = []*os.File{t}
		defer func() { _ = t.Close() }() // the client has it
	}
	if err := c.send(kindDone, nil, terminal...); err != nil && !r.Detached {
		_ = running.Kill()
	}
	return m.followExec(c, running, r.Detached)
}

// followExec waits for a program's end and tells the client.
func (m *Monitor) followExec(c *conn, running *sandbox.Running, detached bool) error {
	go func() {
		for {
			said, err := c.receive()
			if err != nil {
				if !detached {
					_ = running.Kill()
				}
				return
			}
			said.close()
			var s signalRequest
			if said.Kind == kindSignal && said.decode(&s) == nil {
				_ = running.Signal(unix.Signal(s.Signal))
			}
		}
	}()
	exit, err := running.Wait()
	if err != nil {
		return err
	}
	return c.send(kindExit, Exit{Code: exit.Code})
}
