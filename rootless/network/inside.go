package network

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// inside makes sockets in a network namespace, while the process is in another.
// A socket stays in the namespace that its thread was in.
type inside struct {
	asked chan socketRequest
}

type socketRequest struct {
	domain, kind int
	made         chan<- socketMade
}

type socketMade struct {
	fd  int
	err error
}

// goInside sends a thread into the namespace that path is bound to. It ends
// with close.
func goInside(path string) (*inside, error) {
	in := &inside{asked: make(chan socketRequest)}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := enterNetwork(path); err != nil {
			entered <- err
			return
		}
		entered <- nil
		for request := range in.asked {
			fd, err := unix.Socket(request.domain, request.kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			request.made <- socketMade{fd, os.NewSyscallError("socket", err)}
		}
	}()
	return in, <-entered
}

func (in *inside) close() { close(in.asked) }

// enterNetwork takes the calling thread into a network namespace.
func enterNetwork(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return os.NewSyscallError("setns", unix.Setns(fd, unix.CLONE_NEWNET))
}

// dialPatience is how long a connection to a port of the container may take: an
// answer on the same machine is immediate, unless the program is swamped.
const dialPatience = 30 * time.Second

// dial connects to an IPv4 address in the namespace, by unix.SOCK_STREAM or
// unix.SOCK_DGRAM.
func (in *inside) dial(ctx context.Context, kind int, to netip.AddrPort) (net.Conn, error) {
	made := make(chan socketMade, 1)
	in.asked <- socketRequest{unix.AF_INET, kind, made}
	socket := <-made
	if socket.err != nil {
		return nil, socket.err
	}
	f := os.NewFile(uintptr(socket.fd), "socket")
	defer func() { _ = f.Close() }()
	err := unix.Connect(socket.fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err == unix.EINPROGRESS {
		err = connected(ctx, f)
	}
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// connected waits until a socket that is connecting is done.
func connected(ctx context.Context, f *os.File) error {
	if err := f.SetWriteDeadline(time.Now().Add(dialPatience)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		number, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && number != 0 {
			err = unix.Errno(number)
		}
		if failed = err; err != nil {
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil
	})
	if err != nil {
		return err
	}
	return failed
}
