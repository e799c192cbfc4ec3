package emulate

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is the kernel's struct seccomp_notif, see seccomp_unotify(2).
type request struct {
	ID    uint64
	PID   uint32 // the thread's, as this process sees it
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	ID    uint64
	Val   int64
	Errno int32 // negative
	Flags uint32
}

// addFD is struct seccomp_notif_addfd.
type addFD struct {
	ID                        uint64
	Flags, Src, New, NewFlags uint32
}

// What x/sys/unix lacks of linux/seccomp.h.
const (
	ioctlIDValid  = 0x40082102
	ioctlAddFD    = 0x40182103
	ioctlSetFlags = 0x40082104
	flagContinue  = 1
)

// answer is what a call returns.
type answer struct {
	value int64
	errno unix.Errno
	// goOn lets the kernel do the call.
	goOn bool
	// after, where set, is called when the answer was given. A caller that doesn't
	// get it was interrupted by a signal, and will ask once more.
	after func(delivered bool)
}

var toKernel = answer{goOn: true}

func value(n int64) answer       { return answer{value: n} }
func failed(e unix.Errno) answer { return answer{errno: e} }
func done(err error) (a answer) {
	if e, ok := err.(unix.Errno); ok {
		a.errno = e
	} else if err != nil {
		a.errno = unix.EIO
	}
	return a
}

// notifier is the descriptor of a filter with a listener.
type notifier struct{ fd int }

// speedUp has the kernel switch to whom it wakes, on the same processor (6.6 and
// later): each side waits for the other anyway.
func (n *notifier) speedUp() {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), ioctlSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// wait returns true when there is a call to receive, false at the end.
func (n *notifier) wait(stop int) bool {
	fds := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil, fds[1].Revents != 0:
			return false
		case fds[0].Revents&unix.POLLIN != 0:
			return true
		case fds[0].Revents != 0: // nobody has the filter any more
			return false
		}
	}
}

// ioctl makes a call of the filter's. One about a request that a signal interrupts, while
// it waits for the filter's lock, has done nothing, and is made again.
func (n *notifier) ioctl(op uintptr, arg unsafe.Pointer) (int, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), op, uintptr(arg))
		switch {
		case e == unix.EINTR && op != unix.SECCOMP_IOCTL_NOTIF_RECV:
		case e != 0:
			return 0, e
		default:
			return int(r), nil
		}
	}
}

func (n *notifier) receive() (*request, error) {
	req := new(request)
	_, err := n.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(req))
	return req, err
}

// send answers, if the caller still waits.
func (n *notifier) send(req *request, a answer) {
	resp := response{ID: req.ID, Val: a.value, Errno: -int32(a.errno)}
	if a.goOn {
		resp = response{ID: req.ID, Flags: flagContinue}
	} else if a.errno != 0 {
		resp.Val = 0
	}
	_, err := n.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&resp))
	if a.after != nil {
		a.after(err == nil)
	}
}

// valid tells whether the caller still waits: what has been read of it was its own,
// and not that of another process that got its number.
func (n *notifier) valid(req *request) bool {
	id := req.ID
	_, err := n.ioctl(ioctlIDValid, unsafe.Pointer(&id))
	return err == nil
}

// give puts a descriptor into the caller, and answers with its number. The kernel can
// add and answer in one call (SECCOMP_ADDFD_FLAG_SEND), but not safely: where a signal,
// a stop or the machine's sleep interrupts that call, the descriptor isn't added, and
// the caller, already taken for answered, gets 0. With two, a caller that is itself
// interrupted between them keeps a descriptor more, of a file that is gone again.
func (n *notifier) give(req *request, fd int, closeOnExec bool) answer {
	add := addFD{ID: req.ID, Src: uint32(fd)}
	if closeOnExec {
		add.NewFlags = unix.O_CLOEXEC
	}
	number, err := n.ioctl(ioctlAddFD, unsafe.Pointer(&add))
	if err != nil {
		return done(err)
	}
	return value(int64(number))
}
