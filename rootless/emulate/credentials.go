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
	// Groups is replaced, and never changed: a process and its children have one
	// list in common, which may have 65536.
	Groups []uint32
}

// capabilities are those that a process is taken to have. The kernel leaves it the
// ones that it has really, for it never ceases to be root.
type capabilities struct {
	effective, permitted uint64
	keep                 bool // over a change of ids (PR_SET_KEEPCAPS)
}

const (
	capChown  = 1 << unix.CAP_CHOWN
	capSetgid = 1 << unix.CAP_SETGID
	capSetuid = 1 << unix.CAP_SETUID

	everyCap = ^uint64(0)
)

// capabilities gives the capabilities with which a program begins.
func (c Credentials) capabilities() capabilities {
	if c.UID.Effective == 0 {
		return capabilities{effective: everyCap, permitted: everyCap}
	}
	return capabilities{}
}

// change is what becomes of capabilities when user ids change, see capabilities(7).
func (k *capabilities) change(from, to IDs) {
	had := from.Real == 0 || from.Effective == 0 || from.Saved == 0
	has := to.Real == 0 || to.Effective == 0 || to.Saved == 0
	if had && !has && !k.keep {
		k.effective, k.permitted = 0, 0
	}
	switch {
	case from.Effective == 0 && to.Effective != 0:
		k.effective = 0
	case from.Effective != 0 && to.Effective == 0:
		k.effective = k.permitted
	}
	const fsCaps = capChown // of those that follow the file system id
	switch {
	case from.FS == 0 && to.FS != 0:
		k.effective &^= fsCaps
	case from.FS != 0 && to.FS == 0:
		k.effective |= k.permitted & fsCaps
	}
}

// IDs are the real, effective, saved and file system id.
type IDs struct{ Real, Effective, Saved, FS uint32 }

// All is the ids of who is one in every respect.
func All(id uint32) IDs { return IDs{id, id, id, id} }

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
