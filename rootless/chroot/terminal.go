package chroot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openTerminal makes the terminal that the program is to have, and gives its master to
// the keeper.
func (c *child) openTerminal(multiplexer string) error {
	if !c.program.Terminal {
		return nil
	}
	master, slave, err := newTerminal(multiplexer)
	if err != nil {
		return fmt.Errorf("making the program's terminal: %w", err)
	}
	if size := c.program.ConsoleSize; size != nil {
		to := &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}
		if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, to); err != nil {
			return os.NewSyscallError("sizing the program's terminal", err)
		}
	}
	if c.slave, err = unix.Open(slave, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return pathError("open", slave, err)
	}
	if err := say(saysTerminal, nil, master); err != nil {
		return fmt.Errorf("handing over the program's terminal: %w", err)
	}
	if c.joined == 0 && !c.plain {
		if err := showConsole(slave); err != nil {
			return err
		}
	}
	return os.NewSyscallError("close", unix.Close(master))
}

// showConsole shows the terminal as /dev/console, too.
func showConsole(slave string) error {
	const console = "/dev/console"
	if err := os.WriteFile(console, nil, 0o600); err != nil {
		return err
	}
	return fmtError("mounting "+console, unix.Mount(slave, console, "", unix.MS_BIND, ""))
}

// attachTerminal puts the terminal in the place of the standard streams.
func (c *child) attachTerminal() error {
	if c.slave < 0 {
		if c.leftAlone {
			_, _ = unix.Setsid() // nobody's terminal
		}
		return nil
	}
	if err := unix.Fchown(c.slave, int(c.program.User.UID), -1); err != nil {
		return fmt.Errorf("giving the terminal to its user: %w", err)
	}
	if _, err := unix.Setsid(); err != nil {
		return os.NewSyscallError("setsid", err)
	}
	if err := unix.IoctlSetInt(c.slave, unix.TIOCSCTTY, 0); err != nil {
		return os.NewSyscallError("taking the terminal", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(c.slave, fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return nil
}
