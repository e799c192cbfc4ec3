package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/owner"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// server answers a monitor's clients. One connection is one request, and what
// belongs to it.
type server struct {
	m        *Monitor
	listener *net.UnixListener
	serving  sync.WaitGroup
	cancel   context.CancelFunc
	mu       sync.Mutex
	conns    map[*conn]bool // whether they have asked for something
	closing  bool
}

// listen makes the socket. A name of the kernel's stands for the directory: a
// socket's path mustn't be longer than 107 bytes.
func (m *Monitor) listen() (*server, error) {
	dir, err := os.Open(m.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	if err := os.Remove(filepath.Join(m.dir, socketFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", socketAddr(dir))
	if err != nil {
		return nil, fmt.Errorf("making the monitor's socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(m.dir, socketFile), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{m: m, listener: l, cancel: cancel, conns: map[*conn]bool{}}
	s.serving.Go(func() { s.accept(ctx) })
	return s, nil
}

func socketAddr(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketFile)}
}

// hide takes no more clients.
func (s *server) hide() {
	_ = s.listener.Close()
	_ = os.Remove(filepath.Join(s.m.dir, socketFile))
}

// close lets those who wait for the end have it, and what was printed before, as
// long as they are there. Who has asked for nothing yet is sent away.
func (s *server) close() {
	s.cancel()
	s.mu.Lock()
	s.closing = true
	for c, asked := range s.conns {
		if !asked {
			_ = c.SetReadDeadline(time.Now())
		}
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// take serves one connection beside the others; asked tells that it isn't to be
// sent away for its silence.
func (s *server) take(ctx context.Context, c *conn, asked bool, serve func(ctx context.Context, c *conn)) {
	s.mu.Lock()
	if s.closing && !asked {
		_ = c.SetReadDeadline(time.Now())
	}
	s.conns[c] = asked
	s.mu.Unlock()
	s.serving.Go(func() {
		serve(ctx, c)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
		s.m.rest.soon()
	})
}

// heard says that a client has asked for something.
func (s *server) heard(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	_ = c.SetReadDeadline(time.Time{})
}

func (s *server) accept(ctx context.Context) {
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files: others have to end first
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		s.take(ctx, &conn{UnixConn: c}, false, s.serve)
	}
}

// serve answers one client. Only the user may ask, who is root in here or, where
// he keeps his ids, makes this process's files.
func (s *server) serve(ctx context.Context, c *conn) {
	m := s.m
	own, _ := owner.IDs()
	if cred, err := peer(c.UnixConn); err != nil || int(cred.Uid) != own {
		return
	}
	request, err := c.receive()
	if errors.Is(err, os.ErrDeadlineExceeded) { // the container has ended meanwhile
		err = notRunning{fmt.Errorf("container %s is not running", m.Config.ID)}
		_ = c.send(kindError, tellError(err))
		return
	}
	if err != nil {
		_ = c.send(kindError, tellError(fmt.Errorf("the monitor of container %s doesn't understand: %w", short(m.Config.ID), err)))
		return
	}
	defer request.close()
	s.heard(c)
	if err := m.answer(ctx, c, request); err != nil {
		_ = c.send(kindError, tellError(err))
	}
}

// peer gives the process at the other end: who has connected or listens.
func peer(c *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(err, credErr)
}

// What clients ask, and what monitors answer.
const (
	kindAttach  = "attach"
	kindExec    = "exec"
	kindLeave   = "leave"
	kindInside  = "inside"
	kindSync    = "sync"
	kindSignal  = "signal"
	kindResize  = "resize"
	kindStop    = "stop"
	kindRestart = "restart"
	kindPause   = "pause"
	kindResume  = "resume"
	kindWait    = "wait"

	kindProcesses = "processes"

	kindDone  = "done"  // what was asked for is done, or begun
	kindExit  = "exit"  // a program has ended
	kindError = "error" // why it can't be
)

func (m *Monitor) answer(ctx context.Context, c *conn, request *message) error {
	switch request.Kind {
	case kindAttach:
		return m.serveAttach(c, request)
	case kindProcesses:
		return m.serveProcesses(c)
	case kindExec:
		return m.serveExec(ctx, c, request)
	case kindInside:
		return m.serveInside(ctx, c, request)
	case kindSync:
		return m.done(c, m.sync())
	case kindSignal:
		var s signalRequest
		if err := request.decode(&s); err != nil {
			return err
		}
		return m.done(c, m.signal(unix.Signal(s.Signal)))
	case kindStop:
		var s stopRequest
		if err := request.decode(&s); err != nil {
			return err
		}
		m.stop(s.Signal, s.Timeout)
		return c.send(kindDone, nil)
	case kindRestart:
		var s stopRequest
		if err := request.decode(&s); err != nil {
			return err
		}
		return m.done(c, m.restart(s.Signal, s.Timeout))
	case kindPause:
		return m.done(c, m.pause())
	case kindResume:
		return m.done(c, m.resume())
	case kindWait:
		end := m.nextEnd()
		<-end.done
		return c.send(kindExit, end.exit)
	}
	return fault.New("restart the container, so that its monitor is of this version", "its monitor doesn't know the request %q", request.Kind)
}

func (m *Monitor) done(c *conn, err error) error {
	if err != nil {
		return err
	}
	return c.send(kindDone, nil)
}

type signalRequest struct{ Signal int }

type stopRequest struct {
	Signal  string `json:",omitempty"` // "" for the container's own
	Timeout *int   `json:",omitempty"` // seconds, nil for the container's own
}

// Exit is how a container's program has ended.
type Exit struct {
	Code      int
	OOMKilled bool         `json:",omitempty"`
	Error     string       `json:",omitempty"`
	OOM       *sandbox.OOM `json:",omitempty"`
	// Unexplained says that a process was killed, and that nobody knows by whom.
	Unexplained bool `json:",omitempty"`
}

// errNotRunning says that there is no program to do this to. m.mu is held.
func (m *Monitor) errNotRunning() error {
	if m.state.Status == StatusRestarting {
		return fmt.Errorf("container %s is %w, wait until the container is running", m.Config.ID, errRestarting)
	}
	return notRunning{fmt.Errorf("container %s is not running", m.Config.ID)}
}

var errRestarting = errors.New("restarting")

// notRunning is ErrNotRunning in other words.
type notRunning struct{ error }

func (notRunning) Is(target error) bool { return target == ErrNotRunning }

// use gives the program that runs. It isn't closed before done is called, which
// has to come without waiting for more than the program's end.
func (m *Monitor) use() (p *sandbox.Program, done func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.program == nil {
		return nil, nil, m.errNotRunning()
	}
	m.using.Add(1)
	return m.program, m.using.Done, nil
}
