package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	units "github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
)

// Program is a program in a sandbox that outlives the call which made it. Its
// first process is a child of this one, with no runtime between. The methods may
// be called side by side; after Close only Wait, Signal and Exec, which then fails,
// have a meaning.
type Program struct {
	oci    *OCI
	spec   Spec
	bundle *bundle
	first  *os.Process
	ipc    string // as in program

	terminal *os.File
	paused   paused
	execs    execs
	memory   *memory
	kills    int64 // of memory's processes, before this one's
	ended    chan struct{}
	exit     Exit
	err      error
}

// Create makes a sandbox with a program that waits for [Program.Start]. The
// streams of s are files or nil. The error tells that the program can't be run, as
// that of Run does. The end of ctx ends the making, not the program.
func (o *OCI) Create(ctx context.Context, s Spec) (*Program, error) {
	o.once.Do(func() { o.unready = o.prepare(s.Limits) })
	if o.unready != nil {
		return nil, o.unready
	}
	if failed := foreign(s); failed != nil {
		return nil, failed.fault(o.runtime, s)
	}
	p, err := o.create(ctx, s)
	if errors.Is(err, errFilterRefused) {
		o.filters.refuse()
		return o.create(ctx, s)
	}
	return p, err
}

func (o *OCI) create(ctx context.Context, s Spec) (_ *Program, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := o.host.checkIDs(s); err != nil {
		return nil, err
	}
	b, err := o.newBundle(s)
	if err != nil {
		return nil, err
	}
	p := &Program{oci: o, spec: s, bundle: b, memory: o.memory.of(b.group), ended: make(chan struct{})}
	p.kills = p.memory.oomKills()
	if err := p.make(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	go p.watch()
	return p, nil
}

// make has the runtime make the first process, and takes hold of that.
func (p *Program) make(ctx context.Context) error {
	o, b := p.oci, p.bundle
	options, err := b.forTerminal(p.spec, o.options("create", p.spec, b))
	if err != nil {
		return err
	}
	defer b.console.close()
	cmd := o.command(b, append(options, p.spec.ID)...)
	if o.byIPC() {
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWIPC
	}
	if err := files(cmd, p.spec); err != nil {
		return err
	}
	o.children.making.RLock()
	defer o.children.making.RUnlock()
	code, err := runShort(ctx, cmd, b.group, func() { p.ipc = o.ipcOf(cmd.Process.Pid) })
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	p.first, p.terminal, err = o.made(p.spec, b, code)
	if err != nil {
		return p.tooLittle(err)
	}
	return nil
}

// tooLittle explains a runtime that has failed: it is held to the program's limits
// itself while it makes that.
func (p *Program) tooLittle(err error) error {
	oom, _ := p.memory.oomSince(p.kills)
	if oom == nil || !oom.Asked {
		return err
	}
	return fault.New("give it more by --memory, or take the smaller runtime: --runtime crun",
		"%s was ended by the kernel's out-of-memory killer before the program ran: %s are too little for it",
		p.oci.runtime.Name, units.BytesSize(float64(oom.Limit)))
}

// made takes hold of what a runtime has made: a process and, where it has one, the
// master of its terminal.
func (o *OCI) made(s Spec, b *bundle, code int) (process *os.Process, terminal *os.File, err error) {
	pid := readPID(b.path("pid"))
	if pid == 0 || code != 0 {
		if _, err = o.complaint(s, b, max(code, codeRuntime)); err == nil {
			err = o.mute(code)
		}
		return nil, nil, err
	}
	if b.console != nil {
		if terminal, err = b.console.receive(s.Size); err != nil {
			return nil, nil, err
		}
	}
	if process, err = o.children.adopt(pid); err != nil && terminal != nil {
		return nil, nil, errors.Join(err, terminal.Close())
	}
	return process, terminal, err
}

// forTerminal adds the option by which the runtime hands over a terminal.
func (b *bundle) forTerminal(s Spec, options []string) (_ []string, err error) {
	if !s.Terminal {
		return options, nil
	}
	b.console, err = listenConsole(b.dir)
	return append(options, "--console-socket", consoleName), err
}

// files connects the program's standard streams: the runtime has gone when they
// are used, and this process may be busy.
func files(cmd *exec.Cmd, s Spec) error {
	in, isIn := s.Stdin.(*os.File)
	out, isOut := s.Stdout.(*os.File)
	errs, isErr := s.Stderr.(*os.File)
	if s.Stdin != nil && !isIn || s.Stdout != nil && !isOut || s.Stderr != nil && !isErr {
		return errors.New("the streams of a program that outlives its making must be files")
	}
	if in != nil {
		cmd.Stdin = in
	}
	if out != nil {
		cmd.Stdout = out
	}
	if errs != nil {
		cmd.Stderr = errs
	}
	return nil
}

// runShort runs a runtime's command that only makes or starts something, and
// gives its code. The kernel kills it when we die, a promise that is bound to the
// thread that forks.
func runShort(ctx context.Context, cmd *exec.Cmd, group *cgroup.Group, started func()) (int, error) {
	if group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Dir().Fd())
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if group != nil {
			err = fmt.Errorf("into the cgroup %s: %w", group.Path(), err)
		}
		return 0, err
	}
	if started != nil {
		started()
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	return exitCode(cmd, cmd.Wait())
}

// PID is the number of the program's first process, as this one sees it.
func (p *Program) PID() int { return p.first.Pid }

// Terminal is the master of the program's terminal, nil where it has none. Reading
// gives EIO when no process has the terminal open. It is closed by Close.
func (p *Program) Terminal() *os.File { return p.terminal }

// watch waits for the end of the program, and tells of it.
func (p *Program) watch() {
	defer close(p.ended)
	code, err := p.oci.children.wait(p.first)
	killRest(p.ipc, 0)
	p.exit, p.err = exitOf(code), err
	p.bundle.noted(&p.exit)
	if code != 0 {
		p.exit.OOM, p.exit.OOMUnknown = p.memory.oomSince(p.kills)
	}
}

// Wait returns when the program and all that it has started have ended, and tells
// how. It may be called more than once.
func (p *Program) Wait() (Exit, error) {
	<-p.ended
	return p.exit, p.err
}

// hasEnded tells whether the first process has ended, or waits to do so until all
// else in its pid namespace is killed.
func (p *Program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
	}
	now, err := lookUp(p.PID())
	return err != nil || now.exiting
}

// Signal sends a signal to the program's first process. It is no error that it
// has ended.
func (p *Program) Signal(sig unix.Signal) error { return send(p.first, sig) }

// Close ends the program where it runs, and removes what the runtime and the
// sandbox have on the disk.
func (p *Program) Close() error {
	if p.first != nil {
		_ = send(p.first, unix.SIGKILL)
		<-p.ended
		p.execs.end(p.ipc)
	} else {
		killRest(p.ipc, 0)
		p.oci.children.endOrphans(p.bundle.path("pid"), p.oci.pidNS)
	}
	if p.terminal != nil {
		_ = p.terminal.Close()
	}
	p.forget()
	p.bundle.remove()
	return nil
}

// forget has the runtime remove what it knows of the program. Of crun's that is
// all in the bundle.
func (p *Program) forget() {
	if !p.oci.runtime.waitsAsCrun() {
		_, _ = runShort(context.Background(), p.oci.command(p.bundle, "delete", "--force", p.spec.ID), nil, nil)
	}
}

func exitOf(code int) Exit {
	exit := Exit{Code: code}
	if code > 128 && code <= 128+64 {
		exit.Signal = code - 128
	}
	return exit
}
