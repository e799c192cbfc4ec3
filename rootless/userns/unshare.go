package userns

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// Unshare runs a command as root of a user namespace, with the caller's
// environment, terminal, process ids and job control, and gives its exit code:
// 126 or 127 where it can't be started. An empty argv stands for the user's
// shell. The variables of env are added to the environment.
//
// It is called on both sides: outside it starts this program again with the
// same arguments, which inside come to this call again. When the command ends,
// what it has left running in the background is ended too.
func Unshare(ctx context.Context, argv []string, env ...string) (exitCode int, err error) {
	if Inside() {
		return runInside(ctx, argv)
	}
	mapping, err := Detect()
	if err != nil {
		return 0, err
	}
	o := outer{mapping: mapping, env: env, job: true}
	return o.run(ctx)
}

func runInside(ctx context.Context, argv []string) (int, error) {
	if len(argv) == 0 {
		argv = []string{shell()}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, notStarted(argv[0], err)
	}
	signals := make(chan os.Signal, 32)
	catch(signals, passedSignals...)
	defer signal.Stop(signals)
	runtime.LockOSThread() // for the parent-death signal
	defer runtime.UnlockOSThread()
	process, err := os.StartProcess(path, argv, &os.ProcAttr{
		Env:   Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return 0, notStarted(argv[0], err)
	}
	return inner{process: process}.wait(ctx, signals, true)
}

func shell() string {
	if s := os.Getenv("SHELL"); s != "" {
		return s
	}
	return "/bin/sh"
}

// notStarted has the codes that shells give to a command that isn't there, or
// can't be executed.
func notStarted(name string, err error) error {
	f := fault.New("", "starting %s: %w", name, err)
	f.Code = 126
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		f.Code = 127
	}
	return f
}
