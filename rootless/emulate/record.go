package emulate

import (
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

// inode is a file of this moment.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{st.Dev, st.Ino} }

// version is a file that has not changed: attributes can't come to it unseen.
type version struct {
	inode
	ctime unix.Timespec
}

// maxPlain bounds how many files are remembered to have no owner on record.
const maxPlain = 1 << 16

// maxKept bounds how many owners are remembered of files that aren't the root file
// system's.
const maxKept = 1 << 17

// owner tells whose a file is, and whether that is on record: without it the file
// is whose the kernel says.
func (s *Supervisor) owner(f *file) (Owner, bool) {
	at := inodeOf(&f.st)
	if k, ok := s.kept.get(at); ok {
		if k.Kind == f.mode() && k.Times.Born == timesOf(f).Born {
			return k.Owner, true
		}
		s.kept.drop(at) // another file has got its number
	}
	v := version{at, f.st.Ctim}
	if _, plain := s.plain[v]; plain {
		return f.real(), false
	}
	o, ok := s.recorded(f)
	if !ok {
		if len(s.plain) >= maxPlain {
			clear(s.plain)
		}
		s.plain[v] = struct{}{}
		return f.real(), false
	}
	return o, true
}

func (f *file) real() Owner { return Owner{f.st.Uid, f.st.Gid} }

// recorded reads the owner that stands in an attribute, or in the record of what
// lies below.
func (s *Supervisor) recorded(f *file) (Owner, bool) {
	if f.plainType() {
		if o, ok := attribute(f.at); ok || inodeOf(&f.st) != s.root {
			return o, ok
		}
	}
	if s.o.Recorded == nil || f.st.Dev != s.root.dev || f.mode() == unix.S_IFSOCK || f.mount() != s.mount {
		return Owner{}, false
	}
	p, err := os.Readlink(f.at)
	if err != nil {
		return Owner{}, false
	}
	return s.o.Recorded(strings.TrimPrefix(p, "/"))
}

// attribute reads an owner from the attributes of a file.
func attribute(at string) (Owner, bool) {
	var buf [1024]byte
	n, err := unix.Listxattr(at, buf[:])
	if n == 0 && err == nil {
		return Owner{}, false
	}
	if err == nil && !bytes.Contains(buf[:n], []byte(owner.Emulated)) && !bytes.Contains(buf[:n], []byte(owner.Override)) {
		return Owner{}, false
	}
	uid, gid, ok := owner.Recorded(func(name string, value []byte) (int, error) { return unix.Getxattr(at, name, value) })
	return Owner{uid, gid}, ok
}

// record gives a file an owner.
func (s *Supervisor) record(f *file, o Owner) error {
	now, known := s.owner(f)
	// What is copied up leaves its owner on record below, where it bears none itself.
	if now == o && (known && f.plainType() || !known && o == Owner{}) {
		return nil
	}
	at := inodeOf(&f.st)
	s.kept.drop(at)
	delete(s.plain, version{at, f.st.Ctim})
	mount := f.mount()
	if f.plainType() && s.writable[mount] {
		err := unix.Setxattr(f.at, owner.Emulated, owner.Value(o.UID, o.GID), 0)
		if err != unix.ENOTSUP {
			return err
		}
	}
	p, err := os.Readlink(f.at)
	if err != nil {
		return err
	}
	if mount != s.mount && s.kept.files.Len() >= maxKept {
		return unix.EPERM // as the kernel has it
	}
	if mount == s.mount {
		s.kept.any = true
	}
	return s.kept.set(at, kept{keptOwner{o, mount, timesOf(f), f.mode()}, strings.TrimPrefix(p, "/")})
}

// timesOf tells a file's times.
func timesOf(f *file) Times {
	var x unix.Statx_t
	flags := 0
	if f.fd >= 0 {
		flags = unix.AT_EMPTY_PATH
	}
	p := f.at
	if f.fd >= 0 {
		p = ""
	}
	if err := unix.Statx(f.fd, p, flags, unix.STATX_BTIME|unix.STATX_CTIME, &x); err != nil {
		return Times{}
	}
	t := Times{Changed: x.Ctime}
	if x.Mask&unix.STATX_BTIME != 0 {
		t.Born = x.Btime
	}
	return t
}
