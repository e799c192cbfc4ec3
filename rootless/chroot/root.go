package chroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// makeRoot makes the mounts and changes the root to where they are.
func (c *child) makeRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	root := c.spec.Root.Path
	// pivot_root wants a mount point.
	if err := unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting the root directory: %w", err)
	}
	for _, m := range c.spec.Mounts {
		if err := mountInto(root, m); err != nil {
			return fmt.Errorf("mounting %s: %w", m.Destination, err)
		}
		if m.Destination == "/dev" && m.Type == "tmpfs" {
			if err := c.fillDev(filepath.Join(root, "dev")); err != nil {
				return err
			}
		}
	}
	if err := c.changeRoot(root); err != nil {
		return err
	}
	if err := c.name(); err != nil {
		return err
	}
	return c.hide()
}

// changeRoot leaves nothing of the old root behind; where pivot_root is forbidden, as
// docker's seccomp profile has it, it lies below the new one, out of reach for who
// can't unmount.
func (c *child) changeRoot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return pathError("chdir", root, err)
	}
	if !c.noPivot {
		err := unix.PivotRoot(".", ".")
		if err == nil {
			return leaveOldRoot()
		}
		if !errors.Is(err, unix.EPERM) {
			return fault.New("change the root by chroot: --no-pivot", "pivot_root: %w", err)
		}
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root directory: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return pathError("chdir", "/", unix.Chdir("/"))
}

// leaveOldRoot unmounts it after pivot_root: it lies over the new one.
func leaveOldRoot() error {
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting the old root: %w", err)
	}
	return pathError("chdir", "/", unix.Chdir("/"))
}

// name sets the host name, and raises the loopback interface of a network that is
// the program's own.
func (c *child) name() error {
	if c.spec.Hostname != "" && c.makes(rspec.UTSNamespace) {
		if err := unix.Sethostname([]byte(c.spec.Hostname)); err != nil {
			return os.NewSyscallError("sethostname", err)
		}
	}
	if !c.makes(rspec.NetworkNamespace) {
		return nil
	}
	err := loopbackUp()
	if errors.Is(err, unix.EPERM) {
		return fault.New("use --network host, or give builder CAP_NET_ADMIN (a pod: securityContext.capabilities.add: [NET_ADMIN])",
			"a network of its own has no loopback interface: %w", err)
	}
	return err
}

// makes tells whether a namespace is new with this program.
func (c *child) makes(kind rspec.LinuxNamespaceType) bool {
	return slices.ContainsFunc(c.spec.Linux.Namespaces, func(ns rspec.LinuxNamespace) bool {
		return ns.Type == kind && ns.Path == ""
	})
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return errors.Join(os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)), unix.Close(fd))
}

// hide sets what the program is to see of the kernel, and hides what not.
func (c *child) hide() error {
	for name, value := range c.spec.Linux.Sysctl {
		if err := setSysctl(name, value); err != nil {
			return err
		}
	}
	for _, path := range c.spec.Linux.ReadonlyPaths {
		if err := readOnly(path); err != nil {
			return fmt.Errorf("making %s read-only: %w", path, err)
		}
	}
	for _, path := range c.spec.Linux.MaskedPaths {
		if err := mask(path); err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	if !c.spec.Root.Readonly {
		return nil
	}
	return fmtError("making the root directory read-only", setAttributes("/", unix.MOUNT_ATTR_RDONLY, false))
}

func fmtError(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func readOnly(path string) error {
	err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	return setAttributes(path, unix.MOUNT_ATTR_RDONLY, false)
}

func mask(path string) error {
	err := unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR): // a file can't be mounted over a directory
		return unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0k")
	}
	return err
}
