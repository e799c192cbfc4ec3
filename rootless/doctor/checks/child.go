package checks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// ChildPath is the name under which this program calls RunChild: what may fail, or
// can't be undone, is tried by a process of its own.
const ChildPath = "/.builder-doctor"

// children are what RunChild can do, by the first word of its arguments.
var children = map[string]func(args []string) error{
	"mounts":  func([]string) error { return makePrivate() },
	"nest":    func([]string) error { return nest() },
	"resolve": func([]string) error { return resolve() },
	"limit":   limit,
}

// said is what a child tells of its failure.
type said struct {
	Text   string        `json:"text"`
	Remedy string        `json:"remedy,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
}

// RunChild does what a check has started this program for, and gives the exit
// code.
func RunChild(args []string) int {
	err := errors.New("nothing to do")
	if len(args) > 0 && children[args[0]] != nil {
		err = children[args[0]](args[1:])
	}
	if err == nil {
		_, _ = fmt.Println("{}")
		return 0
	}
	s := said{Text: err.Error(), Remedy: fault.Remedy(err)}
	_ = errors.As(err, &s.Errno)
	_ = json.NewEncoder(os.Stdout).Encode(s)
	return 1
}

// child starts this program for RunChild, and gives what failed there. The error
// has the number of the kernel's.
func child(ctx context.Context, attr *syscall.SysProcAttr, in io.Reader, files []*os.File, args ...string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = ChildPath
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Pdeathsig = unix.SIGKILL
	cmd.SysProcAttr, cmd.Stdin, cmd.ExtraFiles, cmd.WaitDelay = attr, in, files, time.Second
	var out, diagnosis bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnosis
	// The parent-death signal comes when the thread that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("no answer after %v", patience)
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return kernels(err) // it couldn't even be started
	}
	var s said
	if json.Unmarshal(out.Bytes(), &s) != nil {
		return fmt.Errorf("the process that tried has ended: %w %s", err, bytes.TrimSpace(diagnosis.Bytes()))
	}
	switch {
	case s.Text == "":
		return nil
	case s.Errno != 0 && s.Remedy == "":
		return s.Errno
	}
	return fault.New(s.Remedy, "%s", s.Text)
}

// kernels gives the kernel's number alone: the rest of such an error tells of this
// package's ways.
func kernels(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
