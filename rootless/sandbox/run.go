package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/chroot"
)

// runtimeEnv is all that a runtime sees of our environment: nothing that would
// make it look for state, sockets or descriptors of ours.
var runtimeEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// command makes the runtime's command line.
func (o *OCI) command(b *bundle, args ...string) *exec.Cmd {
	global := []string{"--root", b.state, "--log", b.path("log"), "--log-format", "json"}
	if o.runtime.Name == "crun" {
		global = append(global, "--cgroup-manager", "disabled")
	}
	cmd := exec.Command(o.runtime.Path, append(global, args...)...)
	cmd.Env = runtimeEnv
	cmd.Dir = b.dir
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	if o.runtime.isOwn() {
		cmd.Args[0] = chroot.Name
	}
	if o.plain { // it ends the rest then
		cmd.SysProcAttr.Pdeathsig = unix.SIGTERM
	}
	return cmd
}

// run starts the runtime, waits for it and gives its exit code. The kernel
// kills it when we die; this promise is bound to the thread that forks, which
// therefore is kept until the end.
func (o *OCI) run(ctx context.Context, s Spec, b *bundle) (int, error) {
	cmd := o.command(b, append(o.options("run", s, b), s.ID)...)
	if o.byIPC() {
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWIPC
	}
	if s.Terminal {
		defer keepSettings(s.Stdin)()
	}
	if b.group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(b.group.Dir().Fd())
	}
	var streams streams
	if err := streams.connect(cmd, s); err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	streams.started()
	if err != nil {
		streams.wait()
		if b.group != nil {
			err = fmt.Errorf("into the cgroup %s: %w", b.group.Path(), err)
		}
		return 0, err
	}
	p := newProgram(o, cmd.Process, b.path("pid"))
	defer p.close()
	ended, over := make(chan struct{}), make(chan struct{})
	var holding, watching sync.WaitGroup
	if s.Terminal {
		watching.Go(func() { p.resize(s.Stdin, over) })
	}
	holding.Go(func() { p.hold(ended) })
	watching.Go(func() { p.watch(ctx, s.Signals, over) })
	if p.ipc != "" {
		watching.Go(func() { p.endRest() })
	}
	err = cmd.Wait()
	close(ended)
	holding.Wait()
	// Whatever ended the runtime, the program doesn't run on without it.
	p.end()
	close(over)
	watching.Wait()
	killRest(p.ipc, p.runtime.Pid)
	if o.plain {
		killInside(s.RootFS)
	}
	streams.wait()
	return exitCode(cmd, err)
}

// options are those of the runtime's command that makes a program.
func (o *OCI) options(command string, s Spec, b *bundle) []string {
	args := []string{command, "--bundle", b.dir, "--pid-file", b.path("pid")}
	if s.NoPivot {
		args = append(args, "--no-pivot")
	}
	if o.runtime.Name == "crun" {
		// The session keyring would count against the user's quota, and
		// what could use it is forbidden by the seccomp profile.
		args = append(args, "--no-new-keyring")
	}
	return args
}

func exitCode(cmd *exec.Cmd, err error) (int, error) {
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	return stateCode(cmd.ProcessState), nil
}

// stateCode is the exit code of a process that has ended, as a shell has it.
func stateCode(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
