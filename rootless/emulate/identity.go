package emulate

import "golang.org/x/sys/unix"

// change changes what the caller's process is, if that is allowed.
func (c *caller) change(call string, ids []uint32, set func(*Credentials) unix.Errno) answer {
	if c.s.o.Mode == Observe {
		return c.note(call, ids...)
	}
	if c.p.beginning {
		return toKernel
	}
	c.s.adopt(c.p)
	return failed(set(&c.p.cred))
}

func sysSetuid(c *caller) answer {
	return c.change("setuid", []uint32{c.id(0)}, func(k *Credentials) unix.Errno { return k.UID.set(c.id(0), k.privileged()) })
}

func sysSetgid(c *caller) answer {
	return c.change("setgid", []uint32{c.id(0)}, func(k *Credentials) unix.Errno { return k.GID.set(c.id(0), k.privileged()) })
}

func sysSetreuid(c *caller) answer {
	return c.change("setreuid", []uint32{c.id(0), c.id(1)}, func(k *Credentials) unix.Errno {
		return k.UID.setRE(c.id(0), c.id(1), k.privileged())
	})
}

func sysSetregid(c *caller) answer {
	return c.change("setregid", []uint32{c.id(0), c.id(1)}, func(k *Credentials) unix.Errno {
		return k.GID.setRE(c.id(0), c.id(1), k.privileged())
	})
}

func sysSetresuid(c *caller) answer {
	return c.change("setresuid", []uint32{c.id(0), c.id(1), c.id(2)}, func(k *Credentials) unix.Errno {
		return k.UID.setRES(c.id(0), c.id(1), c.id(2), k.privileged())
	})
}

func sysSetresgid(c *caller) answer {
	return c.change("setresgid", []uint32{c.id(0), c.id(1), c.id(2)}, func(k *Credentials) unix.Errno {
		return k.GID.setRES(c.id(0), c.id(1), c.id(2), k.privileged())
	})
}

func sysSetfsuid(c *caller) answer {
	if c.s.o.Mode == Observe || c.p.beginning {
		return toKernel
	}
	return value(int64(c.p.cred.UID.setFS(c.id(0), c.p.cred.privileged())))
}

func sysSetfsgid(c *caller) answer {
	if c.s.o.Mode == Observe || c.p.beginning {
		return toKernel
	}
	return value(int64(c.p.cred.GID.setFS(c.id(0), c.p.cred.privileged())))
}

// maxGroups is the kernel's NGROUPS_MAX.
const maxGroups = 65536

func sysSetgroups(c *caller) answer {
	if c.s.o.Mode == Observe {
		return c.noteGroups()
	}
	n := c.id(0)
	if n > maxGroups {
		return failed(unix.EINVAL)
	}
	groups := c.readIDs(1, int(n))
	if c.err != nil {
		return done(c.err)
	}
	return c.change("setgroups", nil, func(k *Credentials) unix.Errno {
		if !k.privileged() {
			return unix.EPERM
		}
		k.Groups = groups
		return 0
	})
}

func sysGetuid(c *caller) answer  { return value(int64(c.p.cred.UID.Real)) }
func sysGeteuid(c *caller) answer { return value(int64(c.p.cred.UID.Effective)) }
func sysGetgid(c *caller) answer  { return value(int64(c.p.cred.GID.Real)) }
func sysGetegid(c *caller) answer { return value(int64(c.p.cred.GID.Effective)) }

func sysGetresuid(c *caller) answer { return c.getRES(c.p.cred.UID) }
func sysGetresgid(c *caller) answer { return c.getRES(c.p.cred.GID) }

func (c *caller) getRES(i IDs) answer {
	c.writeIDs(0, i.Real)
	c.writeIDs(1, i.Effective)
	c.writeIDs(2, i.Saved)
	return c.written(0)
}

func sysGetgroups(c *caller) answer {
	groups, room := c.p.cred.Groups, c.fd(0)
	switch {
	case room == 0:
		return value(int64(len(groups)))
	case room < len(groups):
		return failed(unix.EINVAL)
	}
	c.writeIDs(1, groups...)
	return c.written(int64(len(groups)))
}

// sysExecve takes note of a program that is about to be executed: with a
// set-user-ID bit its process becomes the file's owner. A failure that only the
// kernel will see changes nothing but the saved ids.
func sysExecve(c *caller) answer { return c.execute(unix.AT_FDCWD, c.path(0), 0) }

func sysExecveat(c *caller) answer { return c.execute(c.fd(0), c.path(1), c.fd(4)) }

func (c *caller) execute(dir int, path string, flags int) answer {
	f, err := c.lookUp(dir, path, flags)
	if err != nil {
		return toKernel
	}
	defer f.close()
	user, group := keep, keep
	if f.mode() == unix.S_IFREG && f.st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		o, _ := c.s.owner(f)
		if f.st.Mode&unix.S_ISUID != 0 {
			user = o.UID
		}
		if f.st.Mode&unix.S_ISGID != 0 {
			group = o.GID
		}
	}
	if c.still() && f.mode() == unix.S_IFREG {
		c.p.cred.execute(user, group)
		c.p.beginning = false
	}
	return toKernel
}

// sysExit settles the credentials of children who lose their parent. That of the
// first program is the one that they get next.
func sysExit(c *caller) answer {
	if c.p.cred.UID != c.s.o.User.UID || c.p.cred.GID != c.s.o.User.GID {
		c.s.adopt(c.p)
	}
	return toKernel
}
