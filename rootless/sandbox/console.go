package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Winsize is the size of a terminal in characters. The zero value leaves it as the
// kernel makes it.
type Winsize struct{ Rows, Cols uint16 }

// SetWinsize sets the size of a terminal, of which the master is given. The
// programs on it learn of it by SIGWINCH.
func SetWinsize(terminal *os.File, size Winsize) error {
	if size == (Winsize{}) {
		return nil
	}
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
	return errors.Join(failed, err)
}

// console is the socket at which a runtime hands over the master of the terminal
// that it has made for a program.
type console struct {
	dir    *os.File
	socket *net.UnixListener
}

// consoleName is the socket's in the directory that the runtime is started in. A
// whole path may be longer than what the kernel takes, see unix(7).
const consoleName = "console"

func listenConsole(dir string) (*console, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), consoleName)
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &console{d, socket}, nil
}

func (c *console) close() {
	if c != nil {
		_, _ = c.socket.Close(), c.dir.Close()
	}
}

// receive gives the master, once the runtime has ended. It is of the size.
func (c *console) receive(size Winsize) (*os.File, error) {
	if err := c.socket.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	conn, err := c.socket.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("awaiting the program's terminal: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	// The data are the terminal's name.
	data, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return nil, fmt.Errorf("receiving the program's terminal: %w", err)
	}
	fd, err := passedFile(control[:n])
	if err != nil {
		return nil, fmt.Errorf("receiving the program's terminal: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := SetWinsize(master, size); err != nil {
		return nil, errors.Join(err, master.Close())
	}
	return master, nil
}

// passedFile gives the one descriptor of a message.
func passedFile(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("the message has no descriptor")
}
