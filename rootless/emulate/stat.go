package emulate

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// stat answers the calls of that family for files whose owner is on record. The
// kernel answers for all others.
func (c *caller) stat(dir int, path string, flags, into int) answer {
	f, ok := c.onRecord(dir, path, flags)
	if !ok {
		return toKernel
	}
	defer f.close()
	c.write(c.arg(into), c.abi.stat(&f.st))
	return c.written(0)
}

// onRecord finds a file, and puts its recorded owner into its stat.
func (c *caller) onRecord(dir int, path string, flags int) (*file, bool) {
	f, err := c.lookUp(dir, path, flags)
	if err != nil {
		return nil, false
	}
	o, known := c.s.owner(f)
	if !known || o == f.real() || !c.still() {
		f.close()
		return nil, false
	}
	f.st.Uid, f.st.Gid = o.UID, o.GID
	return f, true
}

func sysStat(c *caller) answer { return c.stat(unix.AT_FDCWD, c.path(0), 0, 1) }

func sysLstat(c *caller) answer {
	return c.stat(unix.AT_FDCWD, c.path(0), unix.AT_SYMLINK_NOFOLLOW, 1)
}

func sysFstat(c *caller) answer { return c.stat(c.fd(0), "", unix.AT_EMPTY_PATH, 1) }

func sysFstatat(c *caller) answer { return c.stat(c.fd(0), c.path(1), c.fd(3), 2) }

func sysStatx(c *caller) answer {
	path := ""
	if c.arg(1) != 0 {
		path = c.path(1)
	}
	f, ok := c.onRecord(c.fd(0), path, c.fd(2))
	if !ok {
		return toKernel
	}
	defer f.close()
	var x unix.Statx_t
	dir, at, flags := f.fd, "", c.fd(2)&^unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH
	if f.fd < 0 {
		dir, at = unix.AT_FDCWD, f.at
	}
	if err := unix.Statx(dir, at, flags, int(c.id(3)), &x); err != nil {
		return toKernel
	}
	x.Uid, x.Gid = f.st.Uid, f.st.Gid
	c.write(c.arg(4), (*[unsafe.Sizeof(x)]byte)(unsafe.Pointer(&x))[:])
	return c.written(0)
}

// nativeStat is struct stat as this program has it too.
func nativeStat(st *unix.Stat_t) []byte {
	return (*[unsafe.Sizeof(*st)]byte)(unsafe.Pointer(st))[:]
}
