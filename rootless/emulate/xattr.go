package emulate

import (
	"bytes"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

// maxList is XATTR_LIST_MAX.
const maxList = 1 << 16

// list answers the calls of listxattr(2)'s family for files with attributes that
// stand for owners: `cp -a` by an ordinary user would copy an owner with them.
func (c *caller) list(dir int, path string, flags int) answer {
	f, err := c.lookUp(dir, path, flags)
	if err != nil {
		return toKernel
	}
	defer f.close()
	if !f.plainType() {
		return toKernel
	}
	var buf [maxList]byte
	n, err := unix.Listxattr(f.at, buf[:])
	if err != nil {
		return toKernel
	}
	others := withoutOwners(buf[:n])
	room := c.arg(2)
	switch {
	case len(others) == n || !c.still():
		return toKernel
	case room == 0:
		return value(int64(len(others)))
	case uint64(len(others)) > room:
		return failed(unix.ERANGE)
	}
	c.write(c.arg(1), others)
	return c.written(int64(len(others)))
}

// withoutOwners leaves the names of owners out of a list of names, each of which
// ends in a zero.
func withoutOwners(names []byte) []byte {
	var others []byte
	for name := range bytes.SplitAfterSeq(names, []byte{0}) {
		if bare := string(bytes.TrimSuffix(name, []byte{0})); bare != owner.Emulated && bare != owner.Override {
			others = append(others, name...)
		}
	}
	return others
}

func sysListxattr(c *caller) answer { return c.list(unix.AT_FDCWD, c.path(0), 0) }
func sysLlistxattr(c *caller) answer {
	return c.list(unix.AT_FDCWD, c.path(0), unix.AT_SYMLINK_NOFOLLOW)
}
func sysFlistxattr(c *caller) answer { return c.list(c.fd(0), "", unix.AT_EMPTY_PATH) }
