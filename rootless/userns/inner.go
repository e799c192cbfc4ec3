package userns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// Setup makes the inner process what Enter promises: root of its ids, with
// mounts and /proc of its own, ended by the death of the outer one. It must be
// called first in main where Inside, before anything is started. From then on
// orphans that the process inherits are reaped, but never a child of its own.
// The error is a *fault.Error.
func Setup() error {
	if os.Getenv(envRelay) != "" {
		return relay()
	}
	if os.Getenv(envJoined) == "1" {
		return makeFilesAsCaller()
	}
	control, err := awaitIDs()
	if err != nil {
		return err
	}
	pidNS := PIDNamespace()
	if err := settle(pidNS); err != nil {
		answer(control, answerRefused, writeLack(asFault(err)))
		os.Exit(fault.CodeOwn) // the outer process tells it
	}
	if pidNS {
		if err := mountProc(); err != nil {
			answer(control, answerNoPIDs, fmt.Sprintf("no fresh /proc can be mounted here: %v", err))
			os.Exit(0) // the outer process starts another
		}
	}
	// Lists of processes would show "exe".
	_ = os.WriteFile("/proc/self/comm", []byte("builder"), 0)
	answer(control, answerReady, "")
	// A parent that died before the parent-death signal was armed is seen here
	// too: its end of the socket is closed.
	if detached() {
		_ = unix.Close(control)
	} else {
		go endWithOuter(control, pidNS)
	}
	go reapOrphans()
	return nil
}

// settle makes this process root of its namespaces, as far as it has any, and
// bound to the life of the outer one.
func settle(pidNS bool) error {
	mapping, err := Current()
	if err != nil {
		return err
	}
	if !mapping.Plain() {
		if err := becomeRoot(); err != nil {
			return err
		}
		if err := makeFilesAsCaller(); err != nil {
			return err
		}
	}
	if pidNS && !detached() {
		// The change of credentials has disarmed it.
		if err := onAllThreads(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)); err != nil {
			return refused("arming the parent-death signal", err)
		}
	} else if !pidNS {
		if err := becomeSubreaper(); err != nil {
			return err
		}
	}
	if !MountNamespace() {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return doctor.Namespace(&os.PathError{Op: "making mounts private", Path: "/", Err: err})
	}
	return nil
}

// awaitIDs waits until the outer process has mapped this one's ids.
func awaitIDs() (control int, err error) {
	kind, err := unix.GetsockoptInt(controlFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return 0, fault.New("unset "+envInside, "%s is set, but builder didn't start this process", envInside)
	}
	closeOnExec()
	var released [1]byte
	for {
		n, err := unix.Read(controlFD, released[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fault.New("", "waiting for ids: %w", err)
		case n == 0:
			os.Exit(fault.CodeOwn) // the outer process is dead, or has told the user why
		}
		return controlFD, nil
	}
}

// What the inner process answers when it has its ids: one byte, and a text.
const (
	answerReady   = 'r'
	answerNoPIDs  = 'p' // and why there can be no pid namespace
	answerRefused = 'x' // and a lack: why it can't be what it should
	maxAnswer     = 8 << 10
)

// answer tells the outer process. Where that is dead, endWithOuter finds it out.
func answer(control int, kind byte, text string) {
	_, _ = unix.Write(control, append([]byte{kind}, text[:min(len(text), maxAnswer-1)]...))
}

// becomeRoot takes the ids 0 and all capabilities in the ordinary way of root:
// those that outlast an exec by being ambient, which came with this process,
// would go to programs that run as other users.
func becomeRoot() error {
	const doing = "becoming root of the user namespace: "
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return refused(doing+"setting the group", err)
	}
	setgroups, err := os.ReadFile("/proc/self/setgroups")
	if err != nil || strings.TrimSpace(string(setgroups)) != "deny" {
		if err := syscall.Setgroups([]int{}); err != nil {
			return refused(doing+"dropping groups", err)
		}
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return refused(doing+"setting the user", err)
	}
	return dropInheritable()
}

// makeFilesAsCaller has files that this process makes belong to the caller, where
// he isn't root inside: he reads them from outside. Programs that it starts are
// root in every respect again, as an exec makes them.
func makeFilesAsCaller() error {
	m, err := Current()
	if err != nil || m.Plain() || m.UID == 0 && m.GID == 0 {
		return err
	}
	const doing = "making files as the caller"
	if err := onAllThreads(unix.SYS_SETFSGID, uintptr(m.GID), 0); err != nil {
		return refused(doing, err)
	}
	if err := onAllThreads(unix.SYS_SETFSUID, uintptr(m.UID), 0); err != nil {
		return refused(doing, err)
	}
	// The kernel has taken capabilities over files away.
	return setCapabilities(func(set *unix.CapUserData) { set.Effective = set.Permitted })
}

// dropInheritable empties the inheritable set of every thread, and with it the
// ambient one, which the kernel keeps within it.
func dropInheritable() error {
	return setCapabilities(func(set *unix.CapUserData) { set.Inheritable = 0 })
}

// setCapabilities changes the capabilities of every thread, from what this one
// has.
func setCapabilities(change func(*unix.CapUserData)) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return refused("reading capabilities", err)
	}
	change(&data[0])
	change(&data[1])
	if err := onAllThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0]))); err != nil {
		return refused("setting capabilities", err)
	}
	return nil
}

// refused explains why root of the namespace can't do what root may. Ubuntu's
// AppArmor lets anyone make a user namespace, and have its ids mapped, but
// denies every capability in it.
func refused(doing string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return doctor.Namespace(fmt.Errorf("%s: %w", doing, err))
	}
	return fault.New("", "%s: %w", doing, err)
}

// onAllThreads makes a system call whose effect is a thread's own. The
// directive keeps what a and b may point to in place.
//
//go:uintptrescapes
func onAllThreads(call, a, b uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(call, a, b, 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP: // the runtime doesn't know the threads of C
		return errors.New("this program must be built with CGO_ENABLED=0")
	}
	return errno
}

// mountProc shows this pid namespace's processes in /proc. The kernel refuses
// where parts of the present /proc are covered, as in most containers.
func mountProc() error {
	return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// endWithOuter waits for the end of the outer process, and ends this one with
// all that runs beneath: pid 1 takes its namespace with it, and where there is
// none, what it started is sought.
func endWithOuter(control int, pidNS bool) {
	var b [1]byte
	for {
		n, err := unix.Read(control, b[:])
		if errors.Is(err, unix.EINTR) || n > 0 {
			continue
		}
		break
	}
	if !pidNS {
		endDescendants(nil)
	}
	os.Exit(128 + int(unix.SIGKILL))
}
