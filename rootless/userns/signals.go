package userns

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// passedSignals go from the outer process to the inner one.
var passedSignals = []os.Signal{
	unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT,
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT,
}

// catch has signals come to c, but for those that are ignored because whoever
// started this process wants so: nohup, or a script's shell for INT in the
// background. The inner process has inherited that.
func catch(c chan<- os.Signal, signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// pass gives the inner process a signal that came to this one.
func (in inner) pass(s os.Signal, job bool) {
	switch {
	case s == unix.SIGTSTP:
		// As pid 1 the inner process takes no stop from a terminal, but it
		// takes one from here. CONT, which is passed on, ends both stops.
		_ = in.process.Signal(unix.SIGSTOP)
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
	case job && fromTerminal(s):
	default:
		_ = in.process.Signal(s) // it fails only where the process has ended
	}
}

// fromTerminal tells whether the whole foreground process group got s, and
// with it the child that this process waits for. As a shell does for a command
// in the foreground, it isn't passed on then.
func fromTerminal(s os.Signal) bool {
	return (s == unix.SIGINT || s == unix.SIGQUIT) && foreground() == unix.Getpgrp()
}

// foreground gives the foreground process group of this process's terminal,
// -1 where it has none.
func foreground() int {
	tty, err := openTerminal()
	if err != nil {
		return -1
	}
	defer func() { _ = unix.Close(tty) }()
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil {
		return -1
	}
	return group
}

// keepTerminal gives a function that takes the terminal back where this
// process has it now: a shell that was killed doesn't give it back.
func keepTerminal() (restore func()) {
	own := unix.Getpgrp()
	if foreground() != own {
		return func() {}
	}
	return func() {
		if foreground() == own {
			return
		}
		tty, err := openTerminal()
		if err != nil {
			return
		}
		defer func() { _ = unix.Close(tty) }()
		signal.Ignore(unix.SIGTTOU) // it stops whoever does this in the background
		_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, own)
		signal.Reset(unix.SIGTTOU)
	}
}

func openTerminal() (int, error) {
	return unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}
