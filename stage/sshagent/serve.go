package sshagent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Serve answers at a new socket until stop is called, which ends what is still
// open.
func Serve(path string, answer func(net.Conn)) (stop func() error, err error) {
	// A socket's path is bounded at 107 bytes; that of a store may be longer.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for ssh: %w", err)
	}
	l.SetUnlinkOnClose(false)
	s := &server{answer: answer, open: map[net.Conn]bool{}}
	s.running.Go(func() { s.accept(l) })
	return func() error {
		err := l.Close()
		s.closeAll()
		s.running.Wait()
		return err
	}, nil
}

// server answers the connections at one socket.
type server struct {
	answer  func(net.Conn)
	running sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
}

func (s *server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[c] = true
		s.mu.Unlock()
		s.running.Go(func() {
			s.answer(c)
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

// closeAll ends what a command left open.
func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}
