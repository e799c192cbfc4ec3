package chroot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// childCommand stands before the command line of the child.
const childCommand = "child"

// childMain makes this process the program, and comes back where it can't.
func childMain(args []string) {
	// What follows is this thread's alone: credentials, filter, namespaces. The
	// program goes on with them.
	runtime.LockOSThread()
	in, err := parse(args)
	if err == nil {
		err = (&child{invocation: in, fifo: -1, slave: -1, answers: -1}).become()
	}
	data, _ := json.Marshal(complaintOf(err))
	if say(saysError, data) != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
}

// child is the process that becomes the program.
type child struct {
	*invocation
	fifo  int // at which a created program waits, else -1
	slave int // the program's terminal, else -1
	// answers is the socket of who answers system calls, else -1.
	answers int
	late    bool   // the working directory isn't entered yet
	path    string // of the program's file
}

// become does everything in its order: what needs the privileges of root of the
// namespace comes first.
func (c *child) become() error {
	closeOnExec()
	for _, step := range []func() error{
		c.openFIFO, c.openAnswers, c.setAppArmor, c.setOOM, c.enterRoot, c.attachTerminal, c.setLimits, c.setDirectory, c.confine, c.find, c.await,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return c.exec()
}

func (c *child) openFIFO() (err error) {
	if c.wait {
		// A writer of one's own keeps reading from ending early.
		if c.fifo, err = unix.Open(c.statePath(fifoName), unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return &os.PathError{Op: "open", Path: fifoName, Err: err}
		}
	}
	return nil
}

// enterRoot makes the program's root directory this process's.
func (c *child) enterRoot() error {
	if c.plain {
		// There are no terminals inside.
		if err := c.openTerminal("/dev/ptmx"); err != nil {
			return err
		}
		return plainRoot(c.spec.Root.Path)
	}
	enter := c.makeRoot
	if c.joined != 0 {
		enter = c.joinRoot
	}
	if err := enter(); err != nil {
		return err
	}
	return c.openTerminal("/dev/pts/ptmx")
}

// joinRoot enters a program's mount namespace, where its root is the root.
func (c *child) joinRoot() error {
	namespace, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", c.joined), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "the mount namespace", Err: err}
	}
	// The kernel wants directories that no other thread has in common with this.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("setns", err)
	}
	return os.NewSyscallError("close", unix.Close(namespace))
}

// setDirectory enters the program's working directory, and makes what lacks of it.
func (c *child) setDirectory() error {
	dir := c.program.Cwd
	if _, err := os.Stat(dir); c.joined == 0 && errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("chdir: %w", err)
		}
	}
	err := unix.Chdir(dir)
	if errors.Is(err, unix.EACCES) {
		c.late = true // the program's user may be able to
		return nil
	}
	return pathError("chdir", dir, err)
}

// await waits until the program is to begin.
func (c *child) await() error {
	if c.fifo < 0 {
		return nil
	}
	if err := say(saysReady, nil); err != nil {
		return err
	}
	var b [1]byte
	for {
		_, err := unix.Read(c.fifo, b[:])
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// exec becomes the program.
func (c *child) exec() error {
	err := syscall.Exec(c.path, c.program.Args, slices.Clip(c.program.Env))
	return fmt.Errorf("exec %s: %w", c.path, err)
}

// find looks for the program's file as a shell does, so that a program which isn't
// there isn't made first.
func (c *child) find() (err error) {
	c.path, err = lookPath(c.program.Args[0], c.program.Env)
	return err
}

// closeOnExec keeps all from the program that this process has open but its streams:
// also what builder was started with.
func closeOnExec() {
	if unix.CloseRange(childSocket, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= childSocket {
			unix.CloseOnExec(fd)
		}
	}
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
