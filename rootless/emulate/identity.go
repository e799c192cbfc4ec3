package emulate

import (
	"slices"

	"golang.org/x/sys/unix"
)

// can tells whether the process has a capability in effect.
func (p *process) can(capability uint64) bool { return p.caps.effective&capability != 0 }

// change changes what the caller's process is, if that is allowed.
func (c *caller) change(call string, ids []uint32, set func(*process) unix.Errno) answer {
	if c.s.o.Mode == Observe {
		return c.note(call, ids...)
	}
	if c.p.beginning {
		return toKernel
	}
	c.s.adopt(c.p)
	cred, caps := c.p.cred, c.p.caps
	errno := set(c.p)
	c.p.caps.change(cred.UID, c.p.cred.UID)
	a := failed(errno)
	a.after = func(delivered bool) {
		if !delivered { // the call that follows finds what this one found
			c.s.mu.Lock()
			defer c.s.mu.Unlock()
			c.p.cred, c.p.caps = cred, caps
		}
	}
	return a
}

func sysSetuid(c *caller) answer {
	return c.change("setuid", c.ids(1), func(p *process) unix.Errno { return p.cred.UID.set(c.id(0), p.can(capSetuid)) })
}

func sysSetgid(c *caller) answer {
	return c.change("setgid", c.ids(1), func(p *process) unix.Errno { return p.cred.GID.set(c.id(0), p.can(capSetgid)) })
}

func sysSetreuid(c *caller) answer {
	return c.change("setreuid", c.ids(2), func(p *process) unix.Errno {
		return p.cred.UID.setRE(c.id(0), c.id(1), p.can(capSetuid))
	})
}

func sysSetregid(c *caller) answer {
	return c.change("setregid", c.ids(2), func(p *process) unix.Errno {
		return p.cred.GID.setRE(c.id(0), c.id(1), p.can(capSetgid))
	})
}

func sysSetresuid(c *caller) answer {
	return c.change("setresuid", c.ids(3), func(p *process) unix.Errno {
		return p.cred.UID.setRES(c.id(0), c.id(1), c.id(2), p.can(capSetuid))
	})
}

func sysSetresgid(c *caller) answer {
	return c.change("setresgid", c.ids(3), func(p *process) unix.Errno {
		return p.cred.GID.setRES(c.id(0), c.id(1), c.id(2), p.can(capSetgid))
	})
}

func sysSetfsuid(c *caller) answer {
	var before uint32
	a := c.change("setfsuid", c.ids(1), func(p *process) unix.Errno {
		before = p.cred.UID.setFS(c.id(0), p.can(capSetuid))
		return 0
	})
	a.value = int64(before)
	return a
}

func sysSetfsgid(c *caller) answer {
	var before uint32
	a := c.change("setfsgid", c.ids(1), func(p *process) unix.Errno {
		before = p.cred.GID.setFS(c.id(0), p.can(capSetgid))
		return 0
	})
	a.value = int64(before)
	return a
}

// sysPrctl is only about PR_SET_KEEPCAPS, which the kernel does as well.
func sysPrctl(c *caller) answer {
	if c.arg(0) == unix.PR_SET_KEEPCAPS {
		c.p.caps.keep = c.arg(1) != 0
	}
	return toKernel
}

// sysCapset takes note of what a process makes of its capabilities, within what it
// is taken to have; the kernel does the same to those that it has.
func sysCapset(c *caller) answer {
	if c.p.beginning {
		return toKernel
	}
	head, sets := c.readIDs(0, 2), c.readIDs(1, 6)
	if c.err != nil || head[0] != unix.LINUX_CAPABILITY_VERSION_3 {
		return toKernel
	}
	effective, permitted := uint64(sets[0])|uint64(sets[3])<<32, uint64(sets[1])|uint64(sets[4])<<32
	c.p.caps.permitted &= permitted
	c.p.caps.effective = effective & c.p.caps.permitted
	return toKernel
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
	return c.change("setgroups", nil, func(p *process) unix.Errno {
		if !p.can(capSetgid) {
			return unix.EPERM
		}
		if !slices.Equal(p.cred.Groups, groups) {
			p.cred.Groups = groups
		}
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
		c.p.caps = c.p.cred.capabilities()
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
