// Package pid1 is the first process of a container that asks for one by --init.
// It starts the command, passes signals on to it, and reaps what is orphaned, as
// tini does: a command that isn't made to be process 1 ignores signals that it
// doesn't handle, and leaves zombies.
package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit codes for a command that couldn't be started, as a shell has them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// Run starts the command, after an optional "--", and gives its exit code when it
// has ended: 128+n where signal n killed it. What it has left running ends with
// process 1.
func Run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return refuse(errors.New("there is no command"))
	}
	if os.Getpid() != 1 {
		// Without a pid namespace, orphans come here all the same.
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	child, err := start(args)
	if err != nil {
		return refuse(err)
	}
	for received := range signals {
		switch sig, _ := received.(unix.Signal); sig {
		case unix.SIGCHLD:
			if code, ended := reap(child); ended {
				return code
			}
		case unix.SIGURG, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU: // this process's own
		default:
			_ = unix.Kill(child, sig)
		}
	}
	return 0
}

// start starts the command in a process group of its own, which has the terminal
// where there is one.
func start(args []string) (pid int, err error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	_, err = unix.IoctlGetTermios(0, unix.TCGETS)
	attr := &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: err == nil},
	}
	pid, err = syscall.ForkExec(path, args, attr)
	if err != nil {
		err = &os.PathError{Op: "exec", Path: path, Err: err}
	}
	return pid, err
}

// refuse tells why the command can't be started.
func refuse(err error) int {
	fmt.Fprintln(os.Stderr, "init:", err)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return codeNotFound
	}
	return codeNotExecutable
}

// reap waits for every child that has ended, and tells whether the command was
// among them.
func reap(child int) (code int, ended bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid <= 0:
			return code, ended
		case pid == child && status.Signaled():
			code, ended = 128+int(status.Signal()), true
		case pid == child:
			code, ended = status.ExitStatus(), true
		}
	}
}
