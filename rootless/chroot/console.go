package chroot

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// console is the terminal of the program, of which the keeper has the master.
type console struct{ master *os.File }

// newConsole takes over a master that the child has made.
func newConsole(master *os.File) (*console, error) {
	if master == nil {
		return nil, errors.New("the program's terminal hasn't arrived")
	}
	// A new file of the same number, which the poller knows.
	if err := unix.SetNonblock(int(master.Fd()), true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &console{os.NewFile(uintptr(fd), "/dev/ptmx")}, master.Close()
}

// handOver gives the master to who listens at a socket; without one there is none.
func (c *console) handOver(socket string) error {
	if c == nil || socket == "" {
		return nil
	}
	defer c.master.Close()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("handing over the terminal: %w", err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := c.master.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) {
		_, _, sent = conn.WriteMsgUnix([]byte("/dev/ptmx"), unix.UnixRights(int(fd)), nil)
	}); err != nil {
		return err
	}
	return sent
}

// relay joins the program's terminal to the caller's, which is this process's
// standard input and output. done waits until all output has been passed on.
func (c *console) relay() (done func()) {
	restore := makeRaw(os.Stdin)
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, unix.SIGWINCH)
	go func() {
		c.copySize() // it may have changed when nobody listened
		for range sizes {
			c.copySize()
		}
	}()
	go func() { _, _ = io.Copy(c.master, os.Stdin) }()
	written := make(chan struct{})
	go func() {
		defer close(written)
		// EIO is the end: nobody has the terminal open.
		_, _ = io.Copy(os.Stdout, c.master)
	}()
	return func() {
		<-written
		signal.Stop(sizes)
		restore()
	}
}

// copySize gives the program's terminal the size of the caller's.
func (c *console) copySize() {
	size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return
	}
	raw, err := c.master.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
}

// makeRaw has the caller's terminal pass every key on, see termios(3).
func makeRaw(terminal *os.File) (restore func()) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	raw := *before
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, unix.TCSETS, &raw) != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETSW, before) }
}

// newTerminal makes a terminal from a multiplexer and gives the slave's name.
func newTerminal(multiplexer string) (master int, slave string, err error) {
	master, err = unix.Open(multiplexer, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", &os.PathError{Op: "open", Path: multiplexer, Err: err}
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, "", os.NewSyscallError("unlocking a terminal", err)
	}
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return -1, "", os.NewSyscallError("naming a terminal", err)
	}
	return master, filepath.Join("/dev/pts", fmt.Sprint(n)), nil
}
