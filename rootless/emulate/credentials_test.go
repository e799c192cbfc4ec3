package emulate

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The rules are those of credentials(7), as the kernel has them for who is root and
// for who isn't.
func TestIDsChangeAsTheKernelLetsThem(t *testing.T) {
	postgres := IDs{101, 101, 101, 101}
	for name, c := range map[string]struct {
		from       IDs
		privileged bool
		set        func(*IDs, bool) unix.Errno
		want       IDs
		errno      unix.Errno
	}{
		"setuid by root":           {All(0), true, func(i *IDs, p bool) unix.Errno { return i.set(101, p) }, postgres, 0},
		"setuid by another":        {postgres, false, func(i *IDs, p bool) unix.Errno { return i.set(0, p) }, postgres, unix.EPERM},
		"setuid to the saved":      {IDs{101, 101, 0, 101}, false, func(i *IDs, p bool) unix.Errno { return i.set(0, p) }, IDs{101, 0, 0, 0}, 0},
		"setuid to none":           {All(0), true, func(i *IDs, p bool) unix.Errno { return i.set(keep, p) }, All(0), unix.EINVAL},
		"seteuid and back":         {IDs{0, 101, 0, 101}, false, func(i *IDs, p bool) unix.Errno { return i.setRES(keep, 0, keep, p) }, All(0), 0},
		"setresuid":                {All(0), true, func(i *IDs, p bool) unix.Errno { return i.setRES(1, 2, 3, p) }, IDs{1, 2, 3, 2}, 0},
		"setresuid by another":     {postgres, false, func(i *IDs, p bool) unix.Errno { return i.setRES(101, 102, 101, p) }, postgres, unix.EPERM},
		"setreuid saves":           {All(0), true, func(i *IDs, p bool) unix.Errno { return i.setRE(101, 101, p) }, postgres, 0},
		"setreuid of the real one": {All(0), true, func(i *IDs, p bool) unix.Errno { return i.setRE(5, keep, p) }, IDs{5, 0, 0, 0}, 0},
		"setreuid swaps":           {IDs{1, 2, 3, 2}, false, func(i *IDs, p bool) unix.Errno { return i.setRE(2, 1, p) }, IDs{2, 1, 1, 1}, 0},
		"setreuid by another":      {postgres, false, func(i *IDs, p bool) unix.Errno { return i.setRE(0, keep, p) }, postgres, unix.EPERM},
	} {
		got := c.from
		if errno := c.set(&got, c.privileged); errno != c.errno || got != c.want {
			t.Errorf("%s: %v, %d; not %v, %d", name, got, errno, c.want, c.errno)
		}
	}
}

func TestSetfsuidGivesTheOneFromBefore(t *testing.T) {
	i := All(0)
	if before := i.setFS(7, true); before != 0 || i != (IDs{0, 0, 0, 7}) {
		t.Errorf("%d, %v", before, i)
	}
	if before := i.setFS(8, false); before != 7 || i.FS != 7 {
		t.Errorf("without the privilege: %d, %v", before, i)
	}
}

func TestCapabilitiesFollowTheUser(t *testing.T) {
	root, other := All(0), All(101)
	k := Credentials{}.capabilities()
	k.change(root, other)
	if k.effective != 0 || k.permitted != 0 {
		t.Error("who ceases to be root keeps capabilities")
	}
	k = Credentials{}.capabilities()
	k.keep = true
	k.change(root, other)
	if k.effective != 0 || k.permitted != everyCap {
		t.Error("with PR_SET_KEEPCAPS the permitted ones go")
	}
	k = Credentials{}.capabilities()
	k.change(root, IDs{0, 101, 0, 101})
	if k.effective != 0 {
		t.Error("seteuid leaves capabilities in effect")
	}
	k.change(IDs{0, 101, 0, 101}, root)
	if k.effective != everyCap {
		t.Error("who becomes root again lacks capabilities")
	}
	if (Credentials{UID: other}).capabilities() != (capabilities{}) {
		t.Error("another user begins with capabilities")
	}
}

func TestExecutingSavesIDsAndMindsTheBits(t *testing.T) {
	c := Credentials{UID: IDs{101, 101, 0, 101}, GID: All(102)}
	c.execute(keep, keep)
	if c.UID != All(101) {
		t.Errorf("the saved id stays: %v", c.UID)
	}
	c.execute(0, 5)
	if c.UID != (IDs{101, 0, 0, 0}) || c.GID != (IDs{102, 5, 5, 5}) {
		t.Errorf("set-user-ID: %v %v", c.UID, c.GID)
	}
}

func TestOwnersMayBeGivenAway(t *testing.T) {
	root := process{caps: Credentials{}.capabilities()}
	user := process{cred: Credentials{UID: All(33), GID: All(33), Groups: []uint32{8}}}
	mine, others := Owner{33, 33}, Owner{1, 33}
	for name, c := range map[string]struct {
		p        process
		now      Owner
		uid, gid uint32
		want     bool
	}{
		"root":                     {root, mine, 1, 2, true},
		"to another user":          {user, mine, 1, keep, false},
		"to another group":         {user, mine, keep, 9, false},
		"to a group of his":        {user, mine, keep, 8, true},
		"to himself":               {user, mine, 33, 33, true},
		"of a file of another's":   {user, others, keep, 8, false},
		"nothing, of another file": {user, others, keep, keep, false},
	} {
		if got := c.p.mayGive(c.now, c.uid, c.gid); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Doing a call once more that a signal interrupted is the same as doing it once.
func TestWhoDidntGetTheAnswerIsWhoItWas(t *testing.T) {
	is := Credentials{UID: IDs{0, 101, 0, 101}}
	s := New(Options{Mode: Emulate, User: is})
	p := s.first()
	p.caps = capabilities{permitted: everyCap, keep: true}
	before := p
	c := &caller{s: s, p: &p, req: &request{Args: [6]uint64{101, 0}}}

	interrupted := sysSetreuid(c)
	if p.cred.UID != (IDs{101, 0, 0, 0}) || p.caps == before.caps {
		t.Fatalf("setreuid made %+v of it", p)
	}
	interrupted.after(false)
	if p.cred.UID != before.cred.UID || p.caps != before.caps {
		t.Errorf("an interrupted setreuid leaves %+v", p)
	}
	sysSetreuid(c).after(true)
	if p.cred.UID != (IDs{101, 0, 0, 0}) {
		t.Errorf("repeated, it makes %v", p.cred.UID)
	}
}
