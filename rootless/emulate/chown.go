package emulate

import "golang.org/x/sys/unix"

// chown is chown(2) for a file that is looked up: it is recorded, and the kernel
// does what else belongs to it (copy the file up, take set-user-ID bits and file
// capabilities away, or refuse).
func (c *caller) chown(dir int, path string, flags int, uid, gid uint32) answer {
	if c.s.o.Mode == Observe {
		return c.note("chown", uid, gid)
	}
	f, err := c.lookUp(dir, path, flags)
	if err != nil {
		return toKernel
	}
	defer f.close()
	if !c.still() {
		return toKernel
	}
	now, known := c.s.owner(f)
	if !known && isOwn(uid) && isOwn(gid) && c.p.can(capChown) {
		return toKernel
	}
	if !c.p.mayGive(now, uid, gid) {
		return failed(unix.EPERM)
	}
	if err := f.chownReal(); err != nil {
		return done(err)
	}
	if uid != keep {
		now.UID = uid
	}
	if gid != keep {
		now.GID = gid
	}
	return done(c.s.record(f, now))
}

// isOwn tells whether an id is one that the kernel knows here.
func isOwn(id uint32) bool { return id == 0 || id == keep }

// mayGive tells whether a file's owner may be set.
func (p *process) mayGive(now Owner, uid, gid uint32) bool {
	if p.can(capChown) {
		return true
	}
	c := p.cred
	return now.UID == c.UID.FS && (uid == keep || uid == now.UID) &&
		(gid == keep || gid == now.GID || c.inGroup(gid))
}

func (f *file) chownReal() error {
	if f.fd < 0 {
		return unix.Chown(f.at, 0, 0)
	}
	return unix.Fchownat(f.fd, "", 0, 0, unix.AT_EMPTY_PATH)
}

func sysChown(c *caller) answer {
	return c.chown(unix.AT_FDCWD, c.path(0), 0, c.id(1), c.id(2))
}

func sysLchown(c *caller) answer {
	return c.chown(unix.AT_FDCWD, c.path(0), unix.AT_SYMLINK_NOFOLLOW, c.id(1), c.id(2))
}

func sysFchown(c *caller) answer {
	return c.chown(c.fd(0), "", unix.AT_EMPTY_PATH, c.id(1), c.id(2))
}

func sysFchownat(c *caller) answer {
	return c.chown(c.fd(0), c.path(1), c.fd(4), c.id(2), c.id(3))
}
