package chroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// fillPlainDev makes the devices that every program has. The links to a program's
// streams lead nowhere without /proc: who opens them is told so, and makes no file.
func fillPlainDev(dev string) error {
	for _, d := range devices {
		if err := makeDevice(filepath.Join(dev, d.name), unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return err
		}
	}
	for name, target := range devLinks {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	for name, mode := range map[string]os.FileMode{"pts": 0o755, "mqueue": 0o777 | os.ModeSticky, "shm": 0o777 | os.ModeSticky} {
		at := filepath.Join(dev, name)
		if err := errors.Join(os.Mkdir(at, 0o700), os.Chmod(at, mode)); err != nil {
			return err
		}
	}
	// A file system may be mounted so that devices on it can't be used.
	null, err := os.OpenFile(filepath.Join(dev, "null"), os.O_RDWR, 0)
	if err != nil {
		return fault.New("keep the store (--root) on a file system that isn't mounted nodev, and let the container use the usual devices",
			"devices can't be used in the store's file system: %w", err)
	}
	return null.Close()
}

func makeDevice(path string, mode uint32, number int) error {
	if err := unix.Mknod(path, mode, number); err != nil {
		if inUserNamespace() {
			return fault.New("let builder mount them: a pod with hostUsers: false may have SYS_ADMIN, or seccompProfile: {type: Unconfined}",
				"/dev/%s can't be made, which no root of a user namespace may: %w", filepath.Base(path), err)
		}
		return fault.New("give builder CAP_MKNOD (a pod: securityContext.capabilities.add: [MKNOD])",
			"/dev/%s can't be made: %w", filepath.Base(path), err)
	}
	return os.Chmod(path, os.FileMode(mode&0o777))
}

// inUserNamespace tells whether this process is root of other ids than the machine's.
func inUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295"
}

// device makes another device of the machine's.
func (s *stage) device(m rspec.Mount) error {
	var st unix.Stat_t
	if err := unix.Stat(m.Source, &st); err != nil {
		return pathError("stat", m.Source, err)
	}
	return s.replace(m.Destination, func(at string) error {
		return makeDevice(at, st.Mode, int(st.Rdev))
	}, nil)
}

// procFiles are what can be had of /proc: what tells of the machine as it was when the
// program started.
var procFiles = []string{"cpuinfo", "meminfo", "version", "filesystems"}

func fillProc(proc string) error {
	for _, name := range procFiles {
		data, err := os.ReadFile("/proc/" + name)
		if err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(proc, name), data, 0o444); err != nil {
			return fmt.Errorf("/proc/%s: %w", name, err)
		}
	}
	return nil
}
