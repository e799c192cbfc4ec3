package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/opencontainers/runtime-tools/generate"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The runtime makes the program's terminal, and hands on what is typed and
// printed. It puts the caller's into raw mode, so that Ctrl-C and its like are
// the program's.

// setTerminal asks for a terminal of the size that the caller's has.
func setTerminal(g *generate.Generator, s Spec) {
	g.SetProcessTerminal(s.Terminal)
	if s.Terminal && s.Size != (Winsize{}) {
		g.SetProcessConsoleSize(uint(s.Size.Cols), uint(s.Size.Rows))
		return
	}
	f, ok := s.Stdin.(*os.File)
	if !s.Terminal || !ok {
		return
	}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
		g.SetProcessConsoleSize(uint(size.Col), uint(size.Row))
	}
}

// keepSettings gives a function that gives a terminal its settings back: a
// runtime that was killed leaves it in raw mode.
func keepSettings(terminal io.Reader) (restore func()) {
	f, ok := terminal.(*os.File)
	if !ok {
		return func() {}
	}
	settings, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETSW, settings) }
}

// resize gives the program's terminal each new size of the caller's, until over
// is closed. (Of the runtimes crun 1.8 doesn't do it.)
func (p *program) resize(caller io.Reader, over <-chan struct{}) {
	ours, ok := caller.(*os.File)
	if !ok || !term.IsTerminal(int(ours.Fd())) {
		return
	}
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, unix.SIGWINCH)
	defer signal.Stop(sizes)
	// It may have changed since setTerminal looked, when nobody listened.
	again := time.After(0)
	for {
		select {
		case <-over:
			return
		case <-sizes:
		case <-again:
		}
		again = nil
		if copySize(ours, p.pid()) != nil {
			again = time.After(pause) // the program's terminal isn't there yet
		}
	}
}

// copySize sets the size of a program's terminal, which runtimes show at
// /dev/console. The program learns of it by SIGWINCH.
func copySize(from *os.File, pid int) error {
	size, err := unix.IoctlGetWinsize(int(from.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	if sameFile(root, "/") {
		return errNoRoot
	}
	console := root + "/dev/console"
	fd, err := unix.Open(console, unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size), unix.Close(fd))
}

// errNoRoot says that a program hasn't got its own root directory yet: what stands at
// /dev/console is ours, where builder runs in a container that has a terminal.
var errNoRoot = errors.New("the program has no root directory of its own yet")

func sameFile(a, b string) bool {
	ofA, err := os.Stat(a)
	if err != nil {
		return false
	}
	ofB, err := os.Stat(b)
	return err == nil && os.SameFile(ofA, ofB)
}
