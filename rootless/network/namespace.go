package network

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

// Namespace is a private network namespace, kept alive by a bind mount and
// served by a helper process, both of which end with Close. It exists only in
// the mount namespace of the process that made it.
type Namespace struct {
	// Path is the file that the namespace is bound to.
	Path string
	// Resolv is the content for /etc/resolv.conf inside.
	Resolv []byte
	// IP is the address of its interface.
	IP string
	// Ports are the published ports, each with one address and the host's port
	// that was chosen.
	Ports []Port
	// Helper names the program that carries the traffic. It is empty where
	// the host itself has no network: then there is a loopback interface only.
	Helper string

	file  *os.File // holds the lock that tells the living from the dead
	carry *process
	fresh bool // made for one sandbox alone

	claims  []claim    // until they are
	forward *forwarder // passed on

	once   sync.Once // for Close
	closed error
}

// Network gives what a sandbox needs to know of the namespace.
func (n *Namespace) Network() Network {
	return Network{Mode: ModePrivate, NSPath: n.Path, Resolv: n.Resolv, HostsIP: n.IP}
}

// Lost tells that the helper has ended by itself, or was killed, and what it
// said last; nil as long as it runs. Without it there is but a loopback
// interface left.
func (n *Namespace) Lost() error {
	if n.carry == nil || n.carry.running() {
		return nil
	}
	return fault.New("sudo dmesg | tail    # tells whether the kernel killed it for want of memory\ntry again, or use --network host",
		"%s, which carries the private network, has ended: %w", n.Helper, n.carry.failure())
}

// Stop begins to end the helper and doesn't wait for it, as Close does: while
// the kernel takes its devices away, other things can be cleared up.
func (n *Namespace) Stop() {
	if n.carry != nil {
		n.carry.kill()
	}
}

// Close ends the helper and lets go of the namespace, which vanishes when its
// last process has ended. It may be called again.
func (n *Namespace) Close() error {
	n.once.Do(func() { n.closed = n.close() })
	return n.closed
}

func (n *Namespace) close() error {
	var errs []error
	n.Stop()
	closeClaims(n.claims)
	if n.forward != nil {
		n.forward.close()
	}
	if n.Path != "" {
		errs = append(errs, release(n.Path)) // which ends a pasta that can't be killed
	}
	if n.carry != nil {
		n.carry.stop()
	}
	if n.file != nil {
		errs = append(errs, n.file.Close())
	}
	return errors.Join(errs...)
}

// prefix begins the names of the files that namespaces are bound to.
const prefix = "builder-net-"

// newFile makes the file that a namespace is to be bound to, locked for as
// long as it is open. It goes where AppArmor's profile for pasta, as
// distributions ship it, lets that read: /run/user/<uid>/netns; only where
// that can't be, into dir.
func newFile(dir string) (*os.File, error) {
	if runtimeDir := os.Getenv("XDG_RUNTIME_DIR"); runtimeDir != "" {
		if f, err := newFileIn(filepath.Join(runtimeDir, "netns")); err == nil {
			return f, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	return newFileIn(dir)
}

func newFileIn(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	sweep(dir)
	for {
		f, err := os.CreateTemp(dir, prefix)
		if err != nil {
			return nil, err
		}
		// A sweeper may have come between the two steps.
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if _, err := os.Lstat(f.Name()); err == nil {
				return f, nil
			}
		}
		_ = f.Close()
	}
}

// sweep removes the files of processes that were killed. Removing one that is
// in use would take the mount away from its owner; the lock tells.
func sweep(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || isNamespace(name) {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.Remove(name)
		}
		_ = f.Close()
	}
}

// isNamespace tells whether a namespace of this process's is bound to a file.
func isNamespace(name string) bool {
	var st unix.Statfs_t
	return unix.Statfs(name, &st) != nil || st.Type == unix.NSFS_MAGIC
}

// bindNew makes a network namespace and binds it to path. The thread that
// entered it can't go back (the host's namespace belongs to another user
// namespace), so it ends with the goroutine that it is locked to.
func bindNew(path string) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			if err := loopbackUp(); err != nil {
				return err
			}
			prepareNew()
			return os.NewSyscallError("mount", unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""))
		}()
	}()
	return <-result
}

// prepareNew sets what is different in the calling thread's new network namespace,
// as far as /proc/sys can be written to. Every user may have ports below 1024, as
// with docker. And nobody else is in that network, whose addresses needn't be looked
// for before they are used, which takes seconds (RFC 4862, section 5.4).
func prepareNew() {
	for _, s := range []struct{ name, value string }{
		{"ipv4/ip_unprivileged_port_start", "0"},
		{"ipv6/conf/all/accept_dad", "0"},
		{"ipv6/conf/default/accept_dad", "0"},
	} {
		f, err := os.OpenFile("/proc/sys/net/"+s.name, os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		_, _ = f.WriteString(s.value)
		_ = f.Close()
	}
}

// release undoes bindNew. Who has removed the file meanwhile, as the user's log-out
// does, has ended the mount as well.
func release(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := unix.Unmount(path, unix.MNT_DETACH)
	return errors.Join(os.NewSyscallError("umount", err), os.Remove(path))
}

// loopbackUp raises lo in the calling thread's network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}
