package chroot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// keep does what the command says, and gives the exit code: the program's where it
// is waited for.
func (in *invocation) keep() (code int, err error) {
	// What is made by this thread ends with it, and namespaces are entered by it.
	runtime.LockOSThread()
	if in.plain {
		undo, failed := in.preparePlain()
		defer func() { err = errors.Join(err, undo()) }()
		if failed != nil {
			return 0, failed
		}
	}
	if err := errors.Join(in.prepareState(), in.gather()); err != nil {
		return 0, err
	}
	k := &keeper{in: in}
	if err := k.start(); err != nil {
		return 0, err
	}
	if err := k.settle(); err != nil {
		k.end()
		return 0, err
	}
	if in.leftAlone {
		return 0, k.console.handOver(in.console)
	}
	return k.wait()
}

// keeper is the process that sandbox has started.
type keeper struct {
	in      *invocation
	child   *os.Process
	talk    *os.File // our end of the child's socket
	console *console // nil where the program has no terminal
}

// prepareState makes what "create" leaves behind: above all the pipe at which the
// program waits.
func (in *invocation) prepareState() error {
	if !in.wait {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(in.root, in.id), 0o700); err != nil {
		return err
	}
	return os.NewSyscallError("mkfifo", unix.Mkfifo(in.statePath(fifoName), 0o600))
}

// fifoName is crun's name for the pipe at which a created program waits.
const fifoName = "exec.fifo"

// start makes the child in its namespaces.
func (k *keeper) start() error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	k.talk = ours
	exe, err := ownFile(k.in.plain)
	if err != nil {
		return err
	}
	defer exe.Close()
	attr := &os.ProcAttr{
		// The collector would start threads, beside which nothing is to run.
		Env:   []string{"GOGC=off"},
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs},
		Sys:   &syscall.SysProcAttr{},
	}
	if !k.in.leftAlone {
		attr.Sys.Pdeathsig = unix.SIGKILL
	}
	if err := k.enter(attr.Sys); err != nil {
		return err
	}
	args := append([]string{Name, childCommand}, k.in.args...)
	k.child, err = os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", exe.Fd()), args, attr)
	if err != nil {
		return fmt.Errorf("starting builder's own runtime: %w", err)
	}
	return nil
}

// enter says which namespaces the child is to be in, and takes this thread into
// those that are there already.
func (k *keeper) enter(attr *syscall.SysProcAttr) error {
	if k.in.joined != 0 {
		return joinAll(k.in.joined)
	}
	for _, ns := range k.in.spec.Linux.Namespaces {
		flag, known := namespaceFlags[ns.Type]
		if !known {
			return fmt.Errorf("a namespace of type %q isn't known", ns.Type)
		}
		if ns.Path == "" {
			attr.Cloneflags |= flag
			continue
		}
		if err := setns(ns.Path, int(flag)); err != nil {
			return err
		}
	}
	return nil
}

var namespaceFlags = map[rspec.LinuxNamespaceType]uintptr{
	rspec.PIDNamespace: unix.CLONE_NEWPID, rspec.NetworkNamespace: unix.CLONE_NEWNET, rspec.MountNamespace: unix.CLONE_NEWNS,
	rspec.IPCNamespace: unix.CLONE_NEWIPC, rspec.UTSNamespace: unix.CLONE_NEWUTS,
}

// setns takes this thread, or for a pid namespace its children, into a namespace.
func setns(path string, flag int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := errors.Join(unix.Setns(fd, flag), unix.Close(fd)); err != nil {
		return &os.PathError{Op: "setns", Path: path, Err: err}
	}
	return nil
}

// joinAll takes this thread into the namespaces of a process, but for the mount
// namespace: the child enters that itself, which sees this program's file until
// then.
func joinAll(pid int) error {
	for name, flag := range map[string]int{
		"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "pid": unix.CLONE_NEWPID,
	} {
		theirs, ours := fmt.Sprintf("/proc/%d/ns/%s", pid, name), "/proc/thread-self/ns/"+name
		want, err := os.Readlink(theirs)
		if err != nil {
			return err
		}
		if have, _ := os.Readlink(ours); have == want {
			continue // entering one's own may be refused
		}
		if err := setns(theirs, flag); err != nil {
			return err
		}
	}
	return nil
}

// settle hears the child out until it has become the program or, of "create", waits
// to do so. It writes the process id down as soon as there is one.
func (k *keeper) settle() error {
	if err := k.tellPID(); err != nil {
		return err
	}
	for {
		m, err := receive(k.talk)
		if err != nil {
			return err
		}
		switch m.kind {
		case saysError:
			return m.err()
		case saysTerminal:
			if k.console, err = newConsole(m.file); err != nil {
				return err
			}
		case saysReady:
			return k.in.writeState(k.child.Pid)
		case saysNothing: // exec has closed its end, or death
			return nil
		}
	}
}

// tellPID writes the file that sandbox waits for, whole or not at all.
func (k *keeper) tellPID() error {
	if k.in.pidFile == "" {
		return nil
	}
	aside := k.in.pidFile + ".new"
	if err := os.WriteFile(aside, []byte(strconv.Itoa(k.child.Pid)), 0o600); err != nil {
		return err
	}
	return os.Rename(aside, k.in.pidFile)
}

// end kills a child that has failed.
func (k *keeper) end() {
	_ = k.child.Kill()
	_, _ = k.child.Wait()
	if k.in.pidFile != "" {
		_ = os.Remove(k.in.pidFile)
	}
}

// wait returns when the program has ended, with its code as a shell has it.
func (k *keeper) wait() (int, error) {
	var done func()
	if k.console != nil {
		done = k.console.relay()
	}
	over := k.watchOver()
	state, err := k.child.Wait()
	over()
	if done != nil {
		done()
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}
