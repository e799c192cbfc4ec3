package container

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// streams are what a container's program reads and prints, joined to its log and
// to the clients that are attached.
type streams struct {
	config Config
	log    *log.Writer

	mu       sync.Mutex
	attached map[*attachment]bool
	input    *os.File     // what the program reads; nil where that is nothing
	terminal *os.File     // the program's terminal, this side of it
	size     unix.Winsize // what a client's terminal was last

	pumps   []pump // of a program that doesn't run yet
	pumping sync.WaitGroup
}

// pump is what a program prints to one of its streams, this side of it.
type pump struct {
	name string
	from *os.File
}

// attachment is a client's ends of the streams, nil where it doesn't want one.
type attachment struct {
	in       *os.File
	out, err *outlet
}

// close ends it at once.
func (a *attachment) close() {
	if a.in != nil {
		_ = a.in.Close()
	}
	a.out.leave()
	a.err.leave()
}

// programEnds are the files that a program gets as its standard streams.
type programEnds struct{ in, out, err *os.File }

func (e programEnds) close() {
	for _, f := range []*os.File{e.in, e.out, e.err} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// open makes the pipes of a program without a terminal.
func (s *streams) open() (ends programEnds, err error) {
	defer func() {
		if err != nil {
			ends.close()
		}
	}()
	if s.config.OpenStdin {
		in, write, err := os.Pipe()
		if err != nil {
			return ends, err
		}
		ends.in = in
		s.setInput(write, nil)
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		return ends, err
	}
	ends.out = theirs
	s.pumps = append(s.pumps, pump{"stdout", out})
	failed, theirs, err := os.Pipe()
	if err != nil {
		return ends, err
	}
	ends.err = theirs
	s.pumps = append(s.pumps, pump{"stderr", failed})
	return ends, nil
}

// connect joins a program's terminal.
func (s *streams) connect(terminal *os.File) {
	s.setInput(terminal, terminal)
	s.pumps = append(s.pumps, pump{"stdout", terminal})
}

func (s *streams) setInput(input, terminal *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.input, s.terminal = input, terminal
	for a := range s.attached {
		s.read(a)
	}
}

// attach joins a client, until detach.
func (s *streams) attach(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached[a] = true
	s.read(a)
}

// detach ends it for a client that has gone.
func (s *streams) detach(a *attachment) {
	if a != nil && s.forget(a) {
		a.close()
	}
}

// leave ends it for a client that stays to hear of the program's end. It returns
// when the client has all that was printed, or has gone.
func (s *streams) leave(a *attachment, gone <-chan struct{}) {
	if a == nil || !s.forget(a) {
		return
	}
	defer a.close()
	for _, o := range []*outlet{a.out, a.err} {
		if o == nil {
			continue
		}
		o.finish()
		select {
		case <-o.ended:
		case <-gone:
		}
	}
}

// forget tells whether the client was attached still.
func (s *streams) forget(a *attachment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.attached[a]
	delete(s.attached, a)
	return was
}

// read passes on what a client types, where there is somebody to read it. s.mu is
// held.
func (s *streams) read(a *attachment) {
	if a.in == nil || s.input == nil {
		return
	}
	in, to := a.in, s.input
	a.in = nil
	go func() {
		_, err := io.Copy(to, in)
		_ = in.Close()
		// The end of what comes by a pipe is passed on, that of a terminal's
		// client isn't.
		if err == nil && s.config.StdinOnce && !s.config.Terminal {
			s.endInput()
		}
	}()
}

func (s *streams) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.input != nil {
		_ = s.input.Close()
		s.input = nil
	}
}

// bufferSize is a pipe's.
const bufferSize = 64 << 10

// begin passes on what the program prints, which runs now, until nobody can print
// any more. What a runtime says before that isn't the program's.
func (s *streams) begin() {
	for _, p := range s.pumps {
		s.pumping.Go(func() { s.pass(p) })
	}
	s.pumps = nil
}

func (s *streams) pass(p pump) {
	defer func() { _ = p.from.Close() }()
	kept := s.log.Stream(p.name)
	buffer := make([]byte, bufferSize)
	for {
		n, err := p.from.Read(buffer)
		if n > 0 {
			_, _ = kept.Write(buffer[:n])
			s.show(p.name, buffer[:n])
		}
		// A terminal whose other side is closed answers EIO.
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// show writes to the clients. One that has gone is left to its connection.
func (s *streams) show(name string, data []byte) {
	for _, a := range s.clients() {
		o := a.out
		if name == "stderr" {
			o = a.err
		}
		if o != nil {
			o.write(data)
		}
	}
}

func (s *streams) clients() []*attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.attached))
}

// wait returns when all that the program has printed is passed on, or waits for
// clients that are slow. The program has ended.
func (s *streams) wait() {
	for _, p := range s.pumps {
		_ = p.from.Close()
	}
	s.pumps = nil
	for _, a := range s.clients() {
		a.out.dontWait()
		a.err.dontWait()
	}
	s.pumping.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.input != nil && s.input != s.terminal {
		_ = s.input.Close()
	}
	s.input, s.terminal = nil, nil
}

// close ends the log.
func (s *streams) close() error {
	if s.log == nil {
		return nil
	}
	return s.log.Close()
}

// resize gives the terminal another size, and the next program's.
func (s *streams) resize(size unix.Winsize) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size.Row == 0 || size.Col == 0 {
		return
	}
	s.size = size
	if s.terminal == nil {
		return
	}
	_ = sandbox.SetWinsize(s.terminal, sandbox.Winsize{Rows: size.Row, Cols: size.Col})
}

// windowSize is what a program's terminal begins with.
func (s *streams) windowSize() sandbox.Winsize {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sandbox.Winsize{Rows: s.size.Row, Cols: s.size.Col}
}

// pollable makes a passed pipe one whose reading and writing end when it is
// closed.
func pollable(f *os.File) *os.File {
	if f == nil {
		return nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil || unix.SetNonblock(fd, true) != nil {
		return f
	}
	_ = f.Close()
	return os.NewFile(uintptr(fd), f.Name())
}
