package emulate

import (
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

// Unsupported tells why this kernel can't hand over calls: that takes Linux 5.9.
func Unsupported() error {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if e != 0 {
		return e
	}
	return nil
}
