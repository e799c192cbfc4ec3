package snapshot

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// copyAttributes gives directory dst mode, owner, extended attributes and times
// of src. Owner and mode are those of the file system, whatever owner an
// attribute tells.
func copyAttributes(dst, src string) error {
	st, err := os.Lstat(src)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	if err := os.Lchown(dst, int(sys.Uid), int(sys.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(dst, sys.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: dst, Err: err}
	}
	if err := copyXattrs(dst, src); err != nil {
		return err
	}
	return os.Chtimes(dst, time.Unix(sys.Atim.Unix()), st.ModTime())
}

func copyXattrs(dst, src string) error {
	names, err := listXattrs(src)
	if err != nil {
		return err
	}
	for _, name := range names {
		if ofDriver(name) {
			continue
		}
		value := make([]byte, 1<<16) // the kernel's limit for one attribute
		n, err := unix.Lgetxattr(src, name, value)
		if err != nil {
			return &os.PathError{Op: "getxattr", Path: src, Err: err}
		}
		if err := unix.Lsetxattr(dst, name, value[:n], 0); err != nil {
			return &os.PathError{Op: "setxattr", Path: dst, Err: err}
		}
	}
	return nil
}

// ofDriver reports whether an attribute belongs to a layer's directory, not to
// what it shows, or can't be set in a user namespace.
func ofDriver(name string) bool {
	for _, prefix := range []string{"user.overlay.", "user.fuseoverlayfs.", "trusted.", "security.selinux"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func listXattrs(path string) ([]string, error) {
	list := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	return strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 }), nil
}
