package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// First is the client that has started a monitor. It hears how far that comes,
// and may be attached from the start.
type First struct {
	conn     *conn
	attached *attachment  // nil where nobody is
	size     unix.Winsize // of his terminal
	gone     chan struct{}

	mu      sync.Mutex
	monitor *Monitor // once its program runs
}

// startRequest is what the first client says.
type startRequest struct {
	Attach *attachRequest  `json:",omitempty"`
	Body   json.RawMessage // for who makes the container
}

const kindStart = "start"

// FirstClient takes up the connection that the client has left at a descriptor,
// and reads what it asks for into request.
func FirstClient(fd uintptr, request any) (*First, error) {
	c, err := connAt(fd)
	if err != nil {
		return nil, err
	}
	said, err := c.receive()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	defer said.close()
	var r startRequest
	if err := said.decode(&r); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := json.Unmarshal(r.Body, request); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	f := &First{conn: c, gone: make(chan struct{})}
	if r.Attach != nil {
		f.attached, f.size = r.Attach.take(said), r.Attach.Size
	}
	go f.hear()
	return f, nil
}

func connAt(fd uintptr) (*conn, error) {
	unix.CloseOnExec(int(fd))
	f := os.NewFile(fd, "client")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("taking up the client's connection: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errForeign, c.Close())
	}
	return &conn{UnixConn: u}, nil
}

// hear obeys the client until it goes. Before the program runs nothing is obeyed.
func (f *First) hear() {
	defer close(f.gone)
	for {
		said, err := f.conn.receive()
		if err != nil {
			return
		}
		said.close()
		f.mu.Lock()
		m := f.monitor
		f.mu.Unlock()
		if m != nil {
			m.obey(said)
		}
	}
}

// While gives a context that ends when the client goes.
func (f *First) While(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-f.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Tell says why there is no container, or no program in it.
func (f *First) Tell(err error) { _ = f.conn.send(kindError, tellError(err)) }

// Made says that the container is there.
func (f *First) Made(id string) error { return f.conn.send(kindMade, id) }

const kindMade = "made"

// started says that the program runs, and keeps the client attached till the end
// where it is.
func (f *First) started(m *Monitor, s *server) {
	f.mu.Lock()
	f.monitor = m
	f.mu.Unlock()
	_ = f.conn.send(kindDone, nil)
	end := m.nextEnd()
	s.take(context.Background(), f.conn, true, func(_ context.Context, c *conn) {
		m.keepAttached(c, f.attached, end, f.gone)
	})
}
