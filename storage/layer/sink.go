package layer

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
	"github.com/builder-oci/builder/internal/spool"
)

// DirOptions tell how a directory is written.
type DirOptions struct {
	Flavor Flavor
	// ExactOwners says that files can be given their true owners. Without it
	// the owners are kept in attributes and, of links and special files, in
	// Owners, which must not be nil then.
	ExactOwners bool
	Owners      *Owners
	// Unprivileged says that the process is an ordinary user without a namespace:
	// Owners then keeps modes and attributes of all files too, see [Owner]. It
	// goes without ExactOwners.
	Unprivileged bool
	// Time is that of directories that must be made on the way to an entry
	// and exist nowhere else.
	Time time.Time
	// Temp is a directory for what takes more room than memory should have: "" is the
	// system's.
	Temp string
	// Most is how many bytes the files that Unpack writes may have in all, those
	// of holes too; 0 sets no bound.
	Most int64
	// maxLate is for tests: 0 is the usual one.
	maxLate int
}

// sink writes files below one directory. Paths are canonical: their parents
// are real directories there, so nothing is ever written through a link.
type sink struct {
	o        DirOptions
	root     int
	uid, gid uint32         // what a new file belongs to
	fds      map[string]int // open directories, by path; all of them are in late
	late     map[string]lateDir
	aside    *spool.Map // of late, what can't be finished before the rest; nil for none
	opaque   *spool.Map // made opaque here
	removals int        // names removed so far
	buf      []byte
	// onRemoved is told, where it isn't nil, of a directory that was removed.
	onRemoved func(path string) error
}

const (
	// maxSinkFDs bounds the open directories between two entries.
	maxSinkFDs = 256
	// maxLate bounds the directories in memory to which something is due.
	maxLate = 4096
)

func newSink(dir string, o DirOptions) (*sink, error) {
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	uid, gid := owner.IDs()
	s := &sink{
		o: o, root: fd, uid: uint32(uid), gid: uint32(gid),
		fds: map[string]int{}, late: map[string]lateDir{}, opaque: spool.NewMap(o.Temp),
	}
	if err := s.keepTime("", fd); err != nil {
		closeFD(fd)
		return nil, err
	}
	return s, nil
}

// trim closes directories when too many are open, and finishes them when something
// is due to too many. It comes between entries, never while a descriptor is in use.
func (s *sink) trim() error {
	if len(s.late) > cmp.Or(s.o.maxLate, maxLate) {
		return s.finishSome()
	}
	if len(s.fds) > maxSinkFDs {
		s.closeDirs("")
	}
	return nil
}

// closeDirs closes what is open at and below path.
func (s *sink) closeDirs(path string) {
	for p, fd := range s.fds {
		if within(p, path) {
			closeFD(fd)
			delete(s.fds, p)
		}
	}
}

func within(p, dir string) bool {
	return dir == "" || p == dir || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
}

func (s *sink) close() {
	s.closeDirs("")
	closeFD(s.root)
	_ = s.opaque.Close() // nobody reads them any more
	if s.aside != nil {
		_ = s.aside.Close()
	}
}

// open gives the descriptor of an existing directory, which stays the sink's.
func (s *sink) open(path string) (int, error) {
	if path == "" {
		return s.root, nil
	}
	if fd, ok := s.fds[path]; ok {
		return fd, nil
	}
	dir, base := split(path)
	above, err := s.open(dir)
	if err != nil {
		return -1, err
	}
	fd, err := openDir(above, base)
	if err != nil {
		return -1, err
	}
	s.fds[path] = fd
	return fd, s.keepTime(path, fd)
}

// mkdir makes a directory where none is. What stood there is replaced, and the
// directory then hides whatever lies below it.
func (s *sink) mkdir(path string) (made bool, err error) {
	dir, base := split(path)
	above, err := s.open(dir)
	if err != nil {
		return false, err
	}
	err = unix.Mkdirat(above, base, 0o700)
	if err != unix.EEXIST {
		return err == nil, err
	}
	var st unix.Stat_t
	if err := lstatAt(above, base, &st); err != nil || typeOf(st.Mode) == TypeDir {
		return false, err
	}
	if err := unix.Unlinkat(above, base, 0); err != nil {
		return false, err
	}
	s.removals++
	if err := unix.Mkdirat(above, base, 0o700); err != nil {
		return false, err
	}
	return true, s.setOpaque(path)
}

// setOpaque makes a directory hide what lies below it. In a full copy nothing
// does.
func (s *sink) setOpaque(path string) error {
	if s.o.Flavor == VFS {
		return nil
	}
	fd, err := s.open(path)
	if err != nil {
		return err
	}
	if err := s.opaque.Set(path, ""); err != nil {
		return err
	}
	if s.o.Flavor == Stacked {
		return markOpaque(fd)
	}
	return setXattr(fd, path, s.o.Flavor.opaqueXattr(), "y")
}

// hides tells whether something written here hides path of the layers below.
func (s *sink) hides(path string) (bool, error) {
	for p := path; s.opaque.Len() > 0; p, _ = split(p) {
		if _, opaque, err := s.opaque.Get(p); err != nil || opaque {
			return opaque, err
		}
		if p == "" {
			break
		}
	}
	return false, nil
}

// clear removes whatever is at path here. It doesn't touch what lies below.
func (s *sink) clear(path string) error {
	dir, base := split(path)
	fd, err := s.open(dir)
	if err != nil {
		return err
	}
	err = unix.Unlinkat(fd, base, 0)
	if err == unix.EISDIR {
		if err := s.forget(path); err != nil {
			return err
		}
		err = removeAll(fd, base)
	}
	if err == unix.ENOENT {
		return nil
	}
	s.removals++
	return err
}

// forget drops what is known of a directory and what is in it.
func (s *sink) forget(path string) error {
	s.closeDirs(path)
	if err := errors.Join(s.forgetLate(path), deleteWithin(s.opaque, path)); err != nil || s.onRemoved == nil {
		return err
	}
	return s.onRemoved(path)
}

// deleteWithin takes a directory and all in it out of a map by paths.
func deleteWithin(m *spool.Map, dir string) error {
	if m == nil || m.Len() == 0 {
		return nil
	}
	return m.Each(func(path, _ string) error {
		if !within(path, dir) {
			return nil
		}
		return m.Delete(path)
	})
}

// removeAll removes a directory with all in it, without following links.
func removeAll(dirfd int, name string) error {
	fd, err := openDir(dirfd, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for d := range names.all() {
		err := unix.Unlinkat(fd, d.name, 0)
		if err == unix.EISDIR {
			err = removeAll(fd, d.name)
		}
		if err != nil {
			return err
		}
	}
	return unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
}

// whiteout marks path as deleted from the layers below.
func (s *sink) whiteout(path string) error {
	dir, base := split(path)
	fd, err := s.open(dir)
	if err != nil {
		return err
	}
	err = unix.Mknodat(fd, base, unix.S_IFCHR, 0)
	if s.o.Flavor == Stacked && err == unix.EPERM {
		// Before Linux 5.8 an ordinary user makes no whiteouts. A socket, which
		// no layer can hold either, hides as well.
		err = unix.Mknodat(fd, base, unix.S_IFSOCK|0o600, 0)
	}
	return err
}
