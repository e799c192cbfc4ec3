package sandbox

import (
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// The runtime makes the program's terminal, and hands on what is typed and
// printed. It puts the caller's into raw mode, so that Ctrl-C and its like are
// the program's, and learns of a new size by SIGWINCH.

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

// resize tells the runtime of new sizes until over is closed. It is in a process
// group of its own, so that it doesn't hear of them by itself.
func resize(runtime *os.Process, over <-chan struct{}) {
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, unix.SIGWINCH)
	defer signal.Stop(sizes)
	for {
		select {
		case <-over:
			return
		case s := <-sizes:
			_ = runtime.Signal(s) // it fails only where it has ended
		}
	}
}
