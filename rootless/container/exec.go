package container

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// ExecRequest is one more program for a running container.
type ExecRequest struct {
	// Exec is the program. Its user is User's.
	Exec sandbox.Exec
	// User is USER[:GROUP] as the container's accounts have it now, "" for the
	// container's own. His home is in the environment where that has none.
	User         string `json:",omitempty"`
	Detached     bool   `json:",omitempty"` // it outlives the client
	In, Out, Err bool   // the client's own, which come along
}

// Account is as whom a program runs.
type Account struct {
	UID, GID uint32
	Groups   []uint32
	Home     string
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
	if err := m.readyExec(&r, request.files); err != nil {
		return err
	}
	running, err := p.Exec(ctx, r.Exec)
	if err != nil {
		return m.cannotExec(err)
	}
	request.close() // the program has its own
	var passed []*os.File
	if t := running.Terminal(); t != nil && !r.Detached {
		passed = []*os.File{t}
	}
	e := &execution{Running: running, detached: r.Detached}
	if err := c.send(kindDone, nil, passed...); err != nil {
		e.lose()
	}
	return e.follow(c)
}

// cannotExec explains that a program can't be run: where the container ends at
// that moment, by that.
func (m *Monitor) cannotExec(err error) error {
	code := fault.Code(err)
	if code == codeNotFound || code == codeNotExecutable {
		return err
	}
	m.mu.Lock()
	ended := m.ended
	m.mu.Unlock()
	select {
	case <-ended:
		return fmt.Errorf("container %s is not running", m.Config.ID)
	case <-time.After(farewell):
	}
	return &fault.Error{Err: err, Remedy: fault.Remedy(err), Detail: fault.Detail(err), Code: codeNotExecutable}
}

const (
	codeNotFound      = 127
	codeNotExecutable = 126 // as docker has it for whatever else keeps a program from being run
	// farewell is how long the end of a program that has been killed takes to be
	// known.
	farewell = 100 * time.Millisecond
)

// readyExec sees whether there may be a program now, and gives it its user and its
// streams.
func (m *Monitor) readyExec(r *ExecRequest, files []*os.File) error {
	m.mu.Lock()
	paused := m.state.Status == StatusPaused
	m.mu.Unlock()
	if paused {
		return fault.New("builder unpause "+short(m.Config.ID), "container %s is paused, unpause the container before exec", m.Config.ID)
	}
	own := m.Config.Spec
	r.Exec.UID, r.Exec.GID, r.Exec.Groups = own.UID, own.GID, own.Groups
	if r.User != "" {
		rootfs, err := m.mountedAt()
		if err != nil {
			return err
		}
		account, err := m.parts.Account(rootfs, r.User)
		if err != nil {
			return err
		}
		r.Exec.UID, r.Exec.GID, r.Exec.Groups = account.UID, account.GID, account.Groups
		if !slices.ContainsFunc(r.Exec.Env, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) {
			r.Exec.Env = append(r.Exec.Env, "HOME="+account.Home)
		}
	}
	for _, s := range []struct {
		wanted bool
		to     **os.File
	}{{r.In, &r.Exec.Stdin}, {r.Out, &r.Exec.Stdout}, {r.Err, &r.Exec.Stderr}} {
		if s.wanted && len(files) > 0 {
			*s.to, files = files[0], files[1:]
		}
	}
	return nil
}

// execution is a program that a client has asked for.
type execution struct {
	*sandbox.Running
	detached bool // it goes on without the client
}

// follow waits for its end and tells the client.
func (e *execution) follow(c *conn) error {
	if t := e.Terminal(); t != nil {
		defer func() { _ = t.Close() }()
	}
	if e.detached {
		e.leave()
	}
	go e.hear(c)
	exit, err := e.Wait()
	if err != nil {
		return err
	}
	return c.send(kindExit, Exit{Code: exit.Code})
}

// hear obeys the client until it goes.
func (e *execution) hear(c *conn) {
	for {
		said, err := c.receive()
		if err != nil {
			e.lose()
			return
		}
		said.close()
		var s signalRequest
		switch {
		case said.Kind == kindSignal && said.decode(&s) == nil:
			_ = e.Signal(unix.Signal(s.Signal))
		case said.Kind == kindLeave && !e.detached:
			e.detached = true
			e.leave()
		}
	}
}

// leave reads what the program prints on its terminal in the client's stead.
func (e *execution) leave() {
	if t := e.Terminal(); t != nil {
		go func() { _, _ = io.Copy(io.Discard, t) }()
	}
}

// lose ends a program whose client has gone.
func (e *execution) lose() {
	if !e.detached {
		_ = e.KillAll()
	}
}

// Leave lets a program that Exec has started go on without the client.
func (c *Client) Leave() error { return c.conn.send(kindLeave, nil) }

// Exec runs a program beside the container's own. What it reads and prints are
// pipes, as with Attach; of one that has a terminal of its own, and isn't detached,
// that is given instead. End tells the end.
func (c *Client) Exec(r ExecRequest, in, out, err *os.File) (terminal *os.File, failed error) {
	streams, files := newAttachRequest(in, out, err, unix.Winsize{})
	r.In, r.Out, r.Err = streams.In, streams.Out, streams.Err
	if err := c.conn.send(kindExec, r, files...); err != nil {
		return nil, c.lost(err)
	}
	answer, failed := c.conn.receive()
	if failed != nil {
		return nil, c.lost(failed)
	}
	defer answer.close()
	if failed := answer.failure(); failed != nil {
		return nil, failed
	}
	if len(answer.files) > 0 {
		terminal = pollable(answer.files[0])
		answer.files = answer.files[1:]
	}
	return terminal, nil
}
