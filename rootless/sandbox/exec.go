package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"github.com/opencontainers/runtime-tools/generate"
	"golang.org/x/sys/unix"
)

// Exec is one more program for a sandbox, with the confinement of the first.
type Exec struct {
	Args []string
	Env  []string // the whole environment, as "NAME=value"
	Cwd  string   // empty stands for "/"
	UID  uint32
	GID  uint32
	// Groups are the additional groups, as those of [Spec].
	Groups []uint32
	// Insecure gives it all capabilities of the user namespace. Its seccomp filter
	// is the sandbox's all the same.
	Insecure bool
	// Terminal gives it a terminal of its own, which is of Size.
	Terminal bool
	Size     Winsize

	// Stdin is empty where it is nil; Stdout and Stderr are then dropped.
	Stdin, Stdout, Stderr *os.File
}

// Running is a program that [Program.Exec] has started. Its methods may be called
// side by side.
type Running struct {
	process  *os.Process
	terminal *os.File
	ended    chan struct{}
	exit     Exit
	err      error
}

// ErrEnded says that the sandbox's program has ended.
var ErrEnded = errors.New("the program of the sandbox has ended")

// Exec starts another program in the sandbox, which must have been started. The
// error tells that it can't be run, as that of Run does, or is ErrEnded. The end of
// ctx ends the making, not the program.
func (p *Program) Exec(ctx context.Context, e Exec) (*Running, error) {
	p.execs.starting.RLock()
	defer p.execs.starting.RUnlock()
	if p.execs.closed {
		return nil, ErrEnded
	}
	r, err := p.start(ctx, e)
	if err != nil && p.hasEnded() {
		return nil, ErrEnded
	}
	return r, err
}

func (p *Program) start(ctx context.Context, e Exec) (*Running, error) {
	s := e.spec(p.spec)
	if len(s.Args) == 0 {
		return nil, errors.New("there is no command")
	}
	if err := p.oci.host.checkIDs(s); err != nil {
		return nil, err
	}
	if failed := foreign(p.seen(s)); failed != nil {
		return nil, failed.fault(p.oci.runtime, s)
	}
	dir, err := os.MkdirTemp(p.bundle.dir, "exec-")
	if err != nil {
		return nil, err
	}
	b := &bundle{dir: dir, state: p.bundle.state}
	r, err := p.exec(ctx, s, b)
	if err != nil {
		p.oci.children.endOrphans(b.path("pid"), p.oci.pidNS)
		removeState(dir)
		return nil, err
	}
	p.execs.running.Go(func() { r.watch(p.oci, b) })
	if failed := diagnose(p.seen(s)); failed != nil && p.failsToBegin(r.process.Pid, r.ended) && r.exit.Code == codeRuntime {
		if r.terminal != nil {
			_ = r.terminal.Close()
		}
		return nil, failed.fault(p.oci.runtime, s)
	}
	return r, nil
}

// execs are a sandbox's programs beside the first.
type execs struct {
	starting sync.RWMutex // held for reading while one is started
	closed   bool         // there are to be no more; guarded by starting
	running  sync.WaitGroup
}

// end returns when there are none any more, nor can be. The first program has
// ended, and with it all but what was just being started.
func (e *execs) end(ipc string) {
	e.starting.Lock()
	e.closed = true
	e.starting.Unlock()
	killRest(ipc, 0)
	e.running.Wait()
}

// spec is the sandbox's, with what is different for e.
func (e Exec) spec(s Spec) Spec {
	s.Args, s.Env, s.SecretEnv, s.Cwd, s.Init = e.Args, e.Env, nil, e.Cwd, ""
	s.UID, s.GID, s.Groups = e.UID, e.GID, e.Groups
	s.Terminal, s.Size = e.Terminal, e.Size
	s.Insecure = s.Insecure || e.Insecure
	s.Stdin, s.Stdout, s.Stderr = e.Stdin, e.Stdout, e.Stderr
	return s
}

// exec has the runtime start a program, and takes hold of it. The runtime doesn't
// stay.
func (p *Program) exec(ctx context.Context, s Spec, b *bundle) (*Running, error) {
	o := p.oci
	if err := o.writeProcess(s, b.path("process.json")); err != nil {
		return nil, err
	}
	options, err := b.forTerminal(s, []string{"exec", "--detach", "--process", b.path("process.json"), "--pid-file", b.path("pid")})
	if err != nil {
		return nil, err
	}
	defer b.console.close()
	cmd := o.command(b, append(options, p.spec.ID)...)
	if err := files(cmd, s); err != nil {
		return nil, err
	}
	o.children.making.RLock()
	defer o.children.making.RUnlock()
	var code int
	err = p.bundle.starting(s, func() (err error) {
		code, err = p.runInside(ctx, cmd)
		return err
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	process, terminal, err := o.made(s, b, code)
	return &Running{process: process, terminal: terminal, ended: make(chan struct{})}, err
}

// runInside runs a runtime's command in the program's ipc namespace, where that
// stands in for a pid namespace: of the runtimes, runc leaves it to us.
func (p *Program) runInside(ctx context.Context, cmd *exec.Cmd) (code int, err error) {
	if p.ipc == "" {
		return runShort(ctx, cmd, p.bundle.group, nil)
	}
	// There is no way back for the thread, which therefore isn't unlocked: it ends
	// with the goroutine.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = joinIPC(p.first.Pid); err == nil {
			code, err = runShort(ctx, cmd, p.bundle.group, nil)
		}
	}()
	<-done
	return code, err
}

// joinIPC moves this thread into the ipc namespace of a process.
func joinIPC(pid int) error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/ipc", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setns(fd, unix.CLONE_NEWIPC), unix.Close(fd))
}

// writeProcess writes what the runtime is to execute.
func (o *OCI) writeProcess(s Spec, path string) error {
	g, err := generate.New("linux")
	if err != nil {
		return err
	}
	if err := o.setProcess(&g, s); err != nil {
		return err
	}
	data, err := json.Marshal(g.Config.Process)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func (r *Running) watch(o *OCI, b *bundle) {
	defer close(r.ended)
	code, err := o.children.wait(r.process)
	r.exit, r.err = exitOf(code), err
	removeState(b.dir)
}

// Terminal is the master of the program's terminal, nil where it has none. Reading
// gives EIO when no process has the terminal open. The caller closes it.
func (r *Running) Terminal() *os.File { return r.terminal }

// Wait returns when the program has ended, and tells how. It may be called more
// than once.
func (r *Running) Wait() (Exit, error) {
	<-r.ended
	return r.exit, r.err
}

// Signal sends a signal to the program. It is no error that it has ended.
func (r *Running) Signal(sig unix.Signal) error { return send(r.process, sig) }

// Kill ends the program, though not what it has started.
func (r *Running) Kill() error { return r.Signal(unix.SIGKILL) }
