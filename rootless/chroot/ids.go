package chroot

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Those of package syscall change all threads, and panic where the filter that is
// this thread's alone makes a difference.

func setGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	_, _, errno := unix.RawSyscall(sysSetgroups, uintptr(len(groups)), uintptr(first), 0)
	return asError(errno)
}

func setGID(gid uint32) error {
	_, _, errno := unix.RawSyscall(sysSetresgid, uintptr(gid), uintptr(gid), uintptr(gid))
	return asError(errno)
}

func setUID(uid uint32) error {
	_, _, errno := unix.RawSyscall(sysSetresuid, uintptr(uid), uintptr(uid), uintptr(uid))
	return asError(errno)
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
