package emulate

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRefusals is how many are worth telling.
const maxRefusals = 8

// note takes down a call with ids that the kernel is about to refuse.
func (c *caller) note(call string, ids ...uint32) answer {
	for _, id := range ids {
		if !isOwn(id) {
			c.s.refused(c, Refusal{Call: call, ID: id})
			break
		}
	}
	return toKernel
}

func (c *caller) noteGroups() answer {
	if !c.s.groups {
		c.s.refused(c, Refusal{Call: "setgroups", Groups: true})
	}
	return toKernel
}

func (s *Supervisor) refused(c *caller, r Refusal) {
	if len(s.refusals) == maxRefusals {
		return
	}
	r.Program = readStatus(c.tid()).name
	s.refusals = append(s.refusals, r)
}

// ErrArchitecture says that this machine's system calls aren't known here.
var ErrArchitecture = errors.New("builder doesn't know the system calls of this architecture")

// Unsupported tells why calls can't be answered here: the architecture isn't known, or
// the kernel can't hand them over, which takes Linux 5.9.
func Unsupported() error {
	if abis == nil {
		return fmt.Errorf("%w (%s)", ErrArchitecture, runtime.GOARCH)
	}
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if e != 0 {
		return e
	}
	return nil
}
