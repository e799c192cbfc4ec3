package container

import (
	"os"

	"golang.org/x/sys/unix"
)

// attachRequest says which of the three streams come along.
type attachRequest struct {
	In, Out, Err bool
	Size         unix.Winsize `json:",omitzero"` // of the client's terminal
}

// take gives the ends that came along.
func (r attachRequest) take(m *message) *attachment {
	a := &attachment{}
	next := func(wanted bool) *os.File {
		if !wanted || len(m.files) == 0 {
			return nil
		}
		f := m.files[0]
		m.files = m.files[1:]
		return pollable(f)
	}
	a.in, a.out, a.err = next(r.In), newOutlet(next(r.Out)), newOutlet(next(r.Err))
	return a
}

func (m *Monitor) serveAttach(c *conn, request *message) error {
	var r attachRequest
	if err := request.decode(&r); err != nil {
		return err
	}
	a := r.take(request)
	end := m.nextEnd()
	_, done, err := m.use()
	if err != nil {
		a.close()
		return err
	}
	m.streams.resize(r.Size)
	m.streams.attach(a)
	done()
	if err := c.send(kindDone, nil); err != nil {
		m.streams.detach(a)
		return nil //nolint:nilerr // the client has gone
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		m.hear(c)
	}()
	m.keepAttached(c, a, end, gone)
	return nil
}

// keepAttached waits until an attached client goes, or tells it the end of the
// program, and before that all that was printed.
func (m *Monitor) keepAttached(c *conn, a *attachment, end *ending, gone <-chan struct{}) {
	select {
	case <-gone:
	case <-end.done:
	}
	select {
	case <-end.done:
		m.streams.leave(a, gone)
		_ = c.send(kindExit, end.exit)
	default:
		m.streams.detach(a)
	}
}

// hear obeys what an attached client says beside its streams, until it goes.
func (m *Monitor) hear(c *conn) {
	for {
		said, err := c.receive()
		if err != nil {
			return
		}
		said.close()
		m.obey(said)
	}
}

// obey does what an attached client says beside its streams.
func (m *Monitor) obey(said *message) {
	switch said.Kind {
	case kindSignal:
		var s signalRequest
		if said.decode(&s) == nil {
			_ = m.signal(unix.Signal(s.Signal))
		}
	case kindResize:
		var size unix.Winsize
		if said.decode(&size) == nil {
			m.streams.resize(size)
		}
	}
}
