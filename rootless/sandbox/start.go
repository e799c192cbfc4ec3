package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Start lets the program begin. The error tells that it can't be run, as that of
// Run does.
func (p *Program) Start() error {
	failed := diagnose(p.seen(p.spec)) // nil for nearly every program
	if err := p.begin(); err != nil {
		return err
	}
	if failed != nil && p.failsToBegin(p.PID(), p.ended) && p.exit.Code == codeRuntime {
		return failed.fault(p.oci.runtime, p.spec)
	}
	return nil
}

// begin does what the runtime's start does. Of crun that is to write a byte, for
// which it needs a fifth of the time that all of a small program takes.
func (p *Program) begin() error {
	o, b := p.oci, p.bundle
	if o.runtime.waitsAsCrun() && release(filepath.Join(b.state, p.spec.ID, "exec.fifo")) == nil {
		return nil
	}
	code, err := runShort(context.Background(), o.command(b, "start", p.spec.ID), nil, nil)
	if err == nil && code != 0 {
		if _, err = o.complaint(p.spec, b, code); err == nil {
			err = fmt.Errorf("%s start has failed with code %d", o.runtime.Name, code)
		}
	}
	return err
}

// release writes to the pipe at which crun's first process waits.
func release(fifo string) error {
	fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte{0})
	return errors.Join(err, unix.Close(fd), unix.Unlink(fifo))
}

// seen is s with the root directory that programs in the sandbox have, in which
// all mounts are.
func (p *Program) seen(s Spec) Spec {
	s.RootFS, s.Mounts = fmt.Sprintf("/proc/%d/root", p.PID()), nil
	return s
}

// failsToBegin tells whether a process ends without having been seen to execute
// another program than the runtime's.
func (p *Program) failsToBegin(pid int, ended <-chan struct{}) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case <-ended:
			return true
		case <-time.After(pause):
		}
		if p.oci.runtime.isLeft(pid) {
			return false
		}
	}
	return false
}

// isLeft tells whether a process that was the runtime's executes another program.
// Runtimes execute themselves from a detached mount or a copy in memory.
func (r Runtime) isLeft(pid int) bool {
	link := fmt.Sprintf("/proc/%d/exe", pid)
	name, err := os.Readlink(link)
	if err != nil || strings.HasPrefix(name, "/memfd:") {
		return false
	}
	executed, err := os.Stat(link)
	if err != nil {
		return false
	}
	own, err := os.Stat(r.Path)
	return err == nil && !os.SameFile(executed, own)
}
