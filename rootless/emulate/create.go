package emulate

import (
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// creation is a name that is about to be made.
type creation struct {
	dir   *file
	base  string
	owner Owner
	umask uint32
}

// creates tells what the caller is about to make, nil where the kernel makes it as
// well: it would be root's, or isn't made at all.
func (c *caller) creates(dir int, p string) *creation {
	if c.p.beginning {
		return nil
	}
	above, base := path.Split(p)
	if base == "" || base == "." || base == ".." {
		return nil
	}
	flags := 0
	if above == "" {
		if dir == unix.AT_FDCWD {
			above = "."
		} else {
			flags = unix.AT_EMPTY_PATH
		}
	}
	parent, err := c.lookUp(dir, above, flags)
	if err != nil {
		return nil
	}
	m := &creation{dir: parent, base: base, owner: c.ownerIn(parent)}
	var st unix.Stat_t
	if m.owner == (Owner{}) || parent.mode() != unix.S_IFDIR ||
		unix.Fstatat(m.at(), base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil || !c.still() {
		m.close()
		return nil
	}
	m.umask = readStatus(c.tid()).umask
	return m
}

// ownerIn is the owner of what the caller makes in a directory.
func (c *caller) ownerIn(parent *file) Owner {
	o := Owner{c.p.cred.UID.FS, c.p.cred.GID.FS}
	if parent.st.Mode&unix.S_ISGID != 0 {
		of, _ := c.s.owner(parent)
		o.GID = of.GID
	}
	return o
}

// at is the descriptor of the directory, which may be the caller's.
func (m *creation) at() int {
	if m.dir.fd < 0 {
		fd, err := unix.Open(m.dir.at, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1
		}
		m.dir.fd, m.dir.at = fd, procFD(fd)
	}
	return m.dir.fd
}

func (m *creation) close() { m.dir.close() }

// made gives what has been made its owner. err is that of making it: the kernel
// then says what is wrong. Where the caller doesn't get the answer, what was made
// goes again.
func (c *caller) made(m *creation, err error, removal int) answer {
	if err == nil {
		err = c.give(m)
	} else {
		m.close()
		return toKernel
	}
	a := done(err)
	a.after = func(delivered bool) {
		if !delivered || err != nil {
			_ = unix.Unlinkat(m.at(), m.base, removal)
		}
		m.close()
	}
	return a
}

func (c *caller) give(m *creation) error {
	fd, err := unix.Openat(m.at(), m.base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := &file{at: procFD(fd), fd: fd}
	defer f.close()
	if err := unix.Fstat(fd, &f.st); err != nil {
		return err
	}
	return c.s.record(f, m.owner)
}

func (c *caller) mkdir(dir int, p string, mode uint32) answer {
	m := c.creates(dir, strings.TrimRight(p, "/"))
	if m == nil {
		return toKernel
	}
	err := unix.Mkdirat(m.at(), m.base, mode&^m.umask)
	if group := m.dir.st.Mode & unix.S_ISGID; err == nil && group != 0 {
		// The kernel hands the bit on by itself, fuse-overlayfs doesn't.
		err = unix.Fchmodat(m.at(), m.base, mode&^m.umask|group, 0)
	}
	return c.made(m, err, unix.AT_REMOVEDIR)
}

func (c *caller) mknod(dir int, p string, mode uint32, dev uint64) answer {
	m := c.creates(dir, p)
	if m == nil {
		return toKernel
	}
	return c.made(m, unix.Mknodat(m.at(), m.base, mode&^m.umask, int(dev)), 0)
}

func (c *caller) symlink(target string, dir int, p string) answer {
	m := c.creates(dir, p)
	if m == nil {
		return toKernel
	}
	return c.made(m, unix.Symlinkat(target, m.at(), m.base), 0)
}

// unnamed is the flag by which O_TMPFILE differs from O_DIRECTORY.
const unnamed = unix.O_TMPFILE &^ unix.O_DIRECTORY

// open makes a file that is opened and doesn't exist yet; one that does is the
// kernel's to open.
func (c *caller) open(dir int, p string, flags, mode uint64) answer {
	switch {
	case flags&unnamed != 0:
		return c.openUnnamed(dir, p, flags, mode)
	case flags&unix.O_CREAT == 0:
		return toKernel
	}
	m := c.creates(dir, p)
	if m == nil {
		return toKernel
	}
	how := int(flags) | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := unix.Openat(m.at(), m.base, how, uint32(mode)&^m.umask)
	if err != nil {
		m.close()
		return toKernel
	}
	f := &file{at: procFD(fd), fd: fd}
	defer f.close()
	if err = unix.Fstat(fd, &f.st); err == nil {
		err = c.s.record(f, m.owner)
	}
	a := done(err)
	if err == nil {
		a = c.n.give(c.req, fd, flags&unix.O_CLOEXEC != 0)
	}
	a.after = func(delivered bool) {
		if !delivered || a.errno != 0 {
			_ = unix.Unlinkat(m.at(), m.base, 0)
		}
		m.close()
	}
	return a
}

// openUnnamed makes a file that may get a name later.
func (c *caller) openUnnamed(dir int, p string, flags, mode uint64) answer {
	if c.p.beginning {
		return toKernel
	}
	parent, err := c.lookUp(dir, p, 0)
	if err != nil {
		return toKernel
	}
	defer parent.close()
	o := c.ownerIn(parent)
	if o == (Owner{}) || !c.still() {
		return toKernel
	}
	umask := readStatus(c.tid()).umask
	fd, err := unix.Open(parent.at, int(flags)|unix.O_CLOEXEC, uint32(mode)&^umask)
	if err != nil {
		return toKernel
	}
	f := &file{at: procFD(fd), fd: fd}
	defer f.close()
	if err := unix.Fstat(fd, &f.st); err != nil {
		return done(err)
	}
	if err := c.s.record(f, o); err != nil {
		return done(err)
	}
	return c.n.give(c.req, fd, flags&unix.O_CLOEXEC != 0)
}

func sysOpen(c *caller) answer {
	return c.open(unix.AT_FDCWD, c.path(0), c.arg(1), c.arg(2))
}

func sysOpenat(c *caller) answer {
	return c.open(c.fd(0), c.path(1), c.arg(2), c.arg(3))
}

func sysCreat(c *caller) answer {
	return c.open(unix.AT_FDCWD, c.path(0), unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, c.arg(1))
}

// sysOpenat2 does without what the call has beyond openat: who says how a path is
// to be resolved has no other user's files made.
func sysOpenat2(c *caller) answer {
	var how [3]uint64
	raw := (*[24]byte)(unsafe.Pointer(&how))
	if n, err := c.read(c.arg(2), raw[:]); err != nil || n != len(raw) || how[2] != 0 {
		return toKernel
	}
	return c.open(c.fd(0), c.path(1), how[0], how[1])
}

func sysMkdir(c *caller) answer   { return c.mkdir(unix.AT_FDCWD, c.path(0), c.id(1)) }
func sysMkdirat(c *caller) answer { return c.mkdir(c.fd(0), c.path(1), c.id(2)) }
func sysMknod(c *caller) answer {
	return c.mknod(unix.AT_FDCWD, c.path(0), c.id(1), c.arg(2))
}
func sysMknodat(c *caller) answer   { return c.mknod(c.fd(0), c.path(1), c.id(2), c.arg(3)) }
func sysSymlink(c *caller) answer   { return c.symlink(c.path(0), unix.AT_FDCWD, c.path(1)) }
func sysSymlinkat(c *caller) answer { return c.symlink(c.path(0), c.fd(1), c.path(2)) }
