package emulate

import (
	"slices"

	"golang.org/x/sys/unix"
)

// keep is the id that says: as it is.
const keep = ^uint32(0)

// Credentials are whom a process is taken for, see credentials(7).
type Credentials struct {
	UID, GID IDs
	Groups   []uint32
}

// IDs are the real, effective, saved and file system id.
type IDs struct{ Real, Effective, Saved, FS uint32 }

// All is the ids of who is one in every respect.
func All(id uint32) IDs { return IDs{id, id, id, id} }

// privileged stands for the capabilities CAP_SETUID, CAP_SETGID and CAP_CHOWN.
func (c Credentials) privileged() bool { return c.UID.Effective == 0 }

func (c Credentials) clone() Credentials {
	c.Groups = slices.Clone(c.Groups)
	return c
}

// inGroup tells whether files can be given to a group by who isn't privileged.
func (c Credentials) inGroup(gid uint32) bool {
	return gid == c.GID.FS || slices.Contains(c.Groups, gid)
}

// set is setuid(2) and setgid(2).
func (i *IDs) set(id uint32, privileged bool) unix.Errno {
	switch {
	case id == keep:
		return unix.EINVAL
	case privileged:
		*i = All(id)
	case id == i.Real || id == i.Saved:
		i.Effective, i.FS = id, id
	default:
		return unix.EPERM
	}
	return 0
}

// setRE is setreuid(2) and setregid(2).
func (i *IDs) setRE(r, e uint32, privileged bool) unix.Errno {
	if !privileged && (r != keep && r != i.Real && r != i.Effective ||
		e != keep && e != i.Real && e != i.Effective && e != i.Saved) {
		return unix.EPERM
	}
	next := *i
	if r != keep {
		next.Real = r
	}
	if e != keep {
		next.Effective = e
	}
	if r != keep || e != keep && e != i.Real {
		next.Saved = next.Effective
	}
	next.FS = next.Effective
	*i = next
	return 0
}

// setRES is setresuid(2) and setresgid(2).
func (i *IDs) setRES(r, e, s uint32, privileged bool) unix.Errno {
	for _, id := range []uint32{r, e, s} {
		if !privileged && id != keep && id != i.Real && id != i.Effective && id != i.Saved {
			return unix.EPERM
		}
	}
	if r != keep {
		i.Real = r
	}
	if e != keep {
		i.Effective = e
	}
	if s != keep {
		i.Saved = s
	}
	i.FS = i.Effective
	return 0
}

// setFS is setfsuid(2) and setfsgid(2): it gives the id from before, whatever
// happens.
func (i *IDs) setFS(id uint32, privileged bool) uint32 {
	before := i.FS
	if id != keep && (privileged || id == i.Real || id == i.Effective || id == i.Saved || id == i.FS) {
		i.FS = id
	}
	return before
}

// execute is what becomes of credentials when a program is executed: user and group
// are those of a file with set-user-ID and set-group-ID bits, else keep.
func (c *Credentials) execute(user, group uint32) {
	if user != keep {
		c.UID.Effective = user
	}
	if group != keep {
		c.GID.Effective = group
	}
	for _, i := range []*IDs{&c.UID, &c.GID} {
		i.Saved, i.FS = i.Effective, i.Effective
	}
}
