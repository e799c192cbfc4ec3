package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runtimeEnv is all that a runtime sees of our environment: nothing that would
// make it look for state, sockets or descriptors of ours.
var runtimeEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// patience is how long a runtime that is to be killed may take to tell the
// program's process id, before it is killed itself.
const patience = 2 * time.Second

// command makes the runtime's command line.
func (o *OCI) command(b *bundle, args ...string) *exec.Cmd {
	global := []string{"--root", b.path("state"), "--log", b.path("log"), "--log-format", "json"}
	if o.runtime.Name == "crun" {
		global = append(global, "--cgroup-manager", "disabled")
	}
	cmd := exec.Command(o.runtime.Path, append(global, args...)...)
	cmd.Env = runtimeEnv
	cmd.Dir = b.dir
	return cmd
}

// run starts the runtime, waits for it and gives its exit code. The kernel
// kills it when we die; this promise is bound to the thread that forks, which
// therefore is kept until the end.
func (o *OCI) run(ctx context.Context, s Spec, b *bundle) (int, error) {
	cmd := o.command(b, o.runArgs(s, b)...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	if !o.pidNS {
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWIPC
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
		return 0, err
	}
	p := &program{runtime: cmd.Process, pidFile: b.path("pid")}
	if !o.pidNS {
		p.ipc, _ = os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", cmd.Process.Pid))
	}
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { p.watch(ctx, s.Signals, over) })
	if p.ipc != "" {
		watching.Go(func() { p.endRest(over) })
	}
	err = cmd.Wait()
	close(over)
	watching.Wait()
	p.killRest()
	streams.wait()
	return exitCode(cmd, err)
}

func (o *OCI) runArgs(s Spec, b *bundle) []string {
	args := []string{"run", "--bundle", b.dir, "--pid-file", b.path("pid")}
	if s.NoPivot {
		args = append(args, "--no-pivot")
	}
	if o.runtime.Name == "crun" {
		// The session keyring would count against the user's quota, and
		// what could use it is forbidden by the seccomp profile.
		args = append(args, "--no-new-keyring")
	}
	return append(args, s.ID)
}

func exitCode(cmd *exec.Cmd, err error) (int, error) {
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// program is the first process of a sandbox, as seen from outside.
type program struct {
	runtime *os.Process
	pidFile string
	ipc     string // its ipc namespace, where that must stand in for a pid namespace
}

// watch passes signals on, and kills the program when ctx ends, until over is
// closed. Signals go to the program directly: a runtime has moments in which
// one would kill it and orphan what it started.
func (p *program) watch(ctx context.Context, signals <-chan os.Signal, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			p.kill(over)
			return
		case sig, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			if number, ok := sig.(unix.Signal); ok {
				p.signal(number, over)
			}
		}
	}
}

// signal sends a signal as soon as the program is there.
func (p *program) signal(sig unix.Signal, over <-chan struct{}) bool {
	for began := time.Now(); time.Since(began) < patience; {
		if pid := p.pid(); pid > 0 {
			return unix.Kill(pid, sig) == nil
		}
		select {
		case <-over:
			return true
		case <-time.After(5 * time.Millisecond):
		}
	}
	return false
}

// kill ends the program, and with it its pid namespace.
func (p *program) kill(over <-chan struct{}) {
	if !p.signal(unix.SIGKILL, over) {
		_ = p.runtime.Kill()
	}
}

// pid gives the program's process id: 0 as long as the runtime hasn't told it,
// and when the program has ended. (A child of another than the runtime has
// taken over the number.)
func (p *program) pid() int {
	pid := p.told()
	if pid == 0 || parent(pid) != p.runtime.Pid {
		return 0
	}
	return pid
}

// told gives the process id that the runtime has written down, or 0.
func (p *program) told() int {
	data, err := os.ReadFile(p.pidFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// parent gives a process's parent, 0 where it doesn't exist.
func parent(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is a name that may contain anything, in parentheses.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

// endRest kills what the program left behind as soon as it has ended, where no
// pid namespace does it. crun waits for all of it.
func (p *program) endRest(over <-chan struct{}) {
	for p.told() == 0 {
		select {
		case <-over:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	if pid := p.pid(); pid != 0 {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			// Readable at its end; the runtime can't end before.
			for errors.Is(pollIn(fd), unix.EINTR) {
			}
			_ = unix.Close(fd)
		}
	}
	p.killRest()
}

func pollIn(fd int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
	return err
}

// killRest kills every process in the program's ipc namespace but the runtime,
// until there is none.
func (p *program) killRest() {
	for found := p.ipc != ""; found; {
		found = false
		links, _ := filepath.Glob("/proc/[0-9]*/ns/ipc")
		for _, link := range links {
			if ns, err := os.Readlink(link); err != nil || ns != p.ipc {
				continue
			}
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			if pid != p.runtime.Pid {
				found = unix.Kill(pid, unix.SIGKILL) == nil || found
			}
		}
	}
}
