package emulate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Listener is the socket at which an OCI runtime hands over the descriptor of each
// filter that it has loaded (the specification's seccomp.listenerPath). What arrives
// is served until Close.
type Listener struct {
	s      *Supervisor
	dir    *os.File
	socket *net.UnixListener
	stop   *os.File // closed at the end; each server reads from the other side
	stops  *os.File
	served sync.WaitGroup
}

// socketName is the socket's in its directory.
const socketName = "notify"

// Path is where the runtime finds the socket. It leads over a descriptor of this
// process, because the directory's own path may be longer than what the kernel takes
// for a socket, see unix(7).
func (l *Listener) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d/%s", os.Getpid(), l.dir.Fd(), socketName)
}

// Listen makes the socket in dir.
func (s *Supervisor) Listen(dir string) (*Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), socketName)
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	l := &Listener{s: s, dir: d, socket: socket}
	if l.stops, l.stop, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, socket.Close(), d.Close())
	}
	l.served.Go(l.accept)
	return l, nil
}

// Close ends serving. No program may run any more whose calls are to be answered.
func (l *Listener) Close() {
	_, _ = l.socket.Close(), l.stop.Close()
	l.served.Wait()
	_, _ = l.stops.Close(), l.dir.Close()
	l.s.forget()
}

func (l *Listener) accept() {
	for {
		conn, err := l.socket.AcceptUnix()
		if err != nil {
			return
		}
		if filter, err := receive(conn); err == nil {
			l.served.Go(func() { l.s.serve(filter, l.stops) })
		}
	}
}

// receive gets the descriptor that comes with the runtime's message, which tells
// nothing else that would be needed.
func receive(conn *net.UnixConn) (*os.File, error) {
	defer conn.Close()
	data, control := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*8))
	_, n, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	var filter *os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if filter == nil {
				unix.CloseOnExec(fd)
				filter = os.NewFile(uintptr(fd), "seccomp")
			} else {
				_ = unix.Close(fd)
			}
		}
	}
	if filter == nil {
		return nil, errors.New("the message has no descriptor")
	}
	return filter, nil
}
