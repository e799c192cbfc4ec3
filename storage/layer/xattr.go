package layer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

const (
	nativeOpaque = "user.overlay.opaque"
	fuseOpaque   = "user.fuseoverlayfs.opaque"
	fuseOrigin   = "user.fuseoverlayfs.origin"
	// overrideStat keeps an owner that the file itself can't have.
	overrideStat = owner.Override
	capability   = "security.capability"
)

// KeepXattr tells whether layers carry an attribute. What the kernel's overlay
// escapes for a container's own use (user.overlay.overlay.…) is dropped with
// the rest of user.overlay.*, as FUSE's hides it as well. SELinux labels and
// access control lists belong to a machine, not to an image.
func KeepXattr(name string) bool {
	if name == capability {
		return true
	}
	return strings.HasPrefix(name, "user.") &&
		!strings.HasPrefix(name, "user.overlay.") &&
		!strings.HasPrefix(name, "user.fuseoverlayfs.") &&
		!strings.HasPrefix(name, "user.containers.") &&
		name != owner.Emulated
}

// xattrs are the extended attributes of one file, parted by who they are for.
type xattrs struct {
	kept     map[string]string // what layers carry; nil if there is none
	opaque   bool              // the mark of either overlay driver
	override string            // overrideStat's value
	emulated string            // owner.Emulated's value, which counts before it
}

// readXattrs reads them all. Most files have none: that costs one call.
func readXattrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) (xattrs, error) {
	var x xattrs
	n, err := list(nil)
	if n == 0 && err == nil || errors.Is(err, unix.ENOTSUP) {
		return x, nil
	}
	if err != nil {
		return x, err
	}
	names, err := readValue(list, make([]byte, n+64))
	if err != nil {
		return x, err
	}
	for len(names) > 0 {
		raw, rest, _ := bytes.Cut(names, []byte{0})
		names = rest
		if err := x.add(string(raw), get); err != nil {
			return x, err
		}
	}
	return x, nil
}

func (x *xattrs) add(name string, get func(string, []byte) (int, error)) error {
	special := name == nativeOpaque || name == fuseOpaque || name == overrideStat || name == owner.Emulated
	if !special && !KeepXattr(name) {
		return nil
	}
	value, err := readValue(func(b []byte) (int, error) { return get(name, b) }, make([]byte, 64))
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("extended attribute %s: %w", name, err)
	}
	switch {
	case name == overrideStat:
		x.override = string(value)
	case name == owner.Emulated:
		x.emulated = string(value)
	case special:
		x.opaque = x.opaque || string(value) == "y"
	default:
		if x.kept == nil {
			x.kept = make(map[string]string)
		}
		x.kept[name] = string(value)
	}
	return nil
}

// owner is the one that stands in the attributes.
func (x xattrs) owner() (Owner, bool) {
	for _, value := range []string{x.emulated, x.override} {
		if uid, gid, ok := owner.Parse(value); ok {
			return Owner{UID: uid, GID: gid}, true
		}
	}
	return Owner{}, false
}

// readValue calls read with ever larger buffers until the value fits.
func readValue(read func([]byte) (int, error), buf []byte) ([]byte, error) {
	for {
		n, err := read(buf)
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) {
			return nil, err
		}
		if n, err = read(nil); err != nil {
			return nil, err
		}
		buf = make([]byte, n+64)
	}
}

// xattrsOfFD reads those of an open file or directory.
func xattrsOfFD(fd int) (xattrs, error) {
	return readXattrs(
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
}

// xattrsAt reads those of a name, of a link itself where it is one.
func xattrsAt(dirfd int, name string) (xattrs, error) {
	p := procPath(dirfd, name)
	return readXattrs(
		func(b []byte) (int, error) { return unix.Llistxattr(p, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(p, name, b) })
}

func sameXattrs(a, b map[string]string) bool { return maps.Equal(a, b) }
