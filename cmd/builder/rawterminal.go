package main

import (
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// makeRaw has the user's terminal pass on every key, where the program has a
// terminal and reads from it, and gives what undoes that.
func (a *attached) makeRaw() (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	if !a.terminal || !a.in || !isTerminal(os.Stdin) {
		return func() {}, nil
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, os.NewSyscallError("tcsetattr", err)
	}
	return func() { _ = term.Restore(fd, state) }, nil
}

// userSize is the size of the user's terminal, 0 where there is none.
func userSize() unix.Winsize {
	for _, f := range []*os.File{os.Stdout, os.Stdin} {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			return *size
		}
	}
	return unix.Winsize{}
}
