package layer

import (
	"os"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/owner"
	"golang.org/x/sys/unix"
)

// DirOptions tell how a directory is written.
type DirOptions struct {
	Flavor Flavor
	// ExactOwners says that files can be given their true owners. Without it
	// the owners are kept in attributes and, of links and special files, in
	// Owners, which must not be nil then.
	ExactOwners bool
	Owners      Owners
	// Unprivileged says that the process is an ordinary user without a namespace:
	// Owners then keeps modes and attributes of all files too, see [Owner]. It
	// goes without ExactOwners.
	Unprivileged bool
	// Time is that of directories that must be made on the way to an entry
	// and exist nowhere else.
	Time time.Time
	// Most is how many bytes the files that Unpack writes may have in all, those
	// of holes too; 0 sets no bound.
	Most int64
}

// sink writes files below one directory. Paths are canonical: their parents
// are real directories there, so nothing is ever written through a link.
type sink struct {
	o        DirOptions
	root     int
	uid, gid uint32         // what a new file belongs to
	fds      map[string]int // open directories, by path; all of them are in late
	late     map[string]lateDir
	kept     int             // of late, when finishing some was last tried
	opaque   map[string]bool // made opaque here
	removals int             // names removed so far
	buf      []byte
}

// lateDir is what a directory gets when all else is written. Before that it
// is writable and nobody else's, and writing in it moves its time. There may be
// many, so that it isn't a whole Entry.
type lateDir struct {
	time time.Time
	// timeOnly leaves all but the time as it is.
	timeOnly bool
	mode     int64
	uid, gid uint32
	xattrs   map[string]string
}

// entry is what it gets, as an entry.
func (d lateDir) entry(path string) *Entry {
	return &Entry{
		Path: path, Type: TypeDir, Mode: d.mode, UID: d.uid, GID: d.gid, ModTime: d.time, Xattrs: d.xattrs,
	}
}

const (
	// maxSinkFDs bounds the open directories between two entries.
	maxSinkFDs = 256
	// maxLate bounds the directories to which something is due, those aside that
	// can't be finished before the rest.
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
		fds: map[string]int{}, late: map[string]lateDir{}, opaque: map[string]bool{},
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
	if len(s.late) > s.kept+maxLate {
		return s.finishSome()
	}
	if len(s.fds) > maxSinkFDs {
		s.closeDirs("")
	}
	return nil
}

// finishSome finishes directories that can be written into all the same, and then
// get their times back: but for those whose group or attributes pass to new files.
func (s *sink) finishSome() error {
	defer func() { s.kept = len(s.late) }()
	return s.finishThose(func(path string, d lateDir) bool {
		return path != "" && (d.timeOnly || d.mode&unix.S_ISGID == 0 && len(d.xattrs) == 0)
	})
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
	s.opaque[path] = true
	if s.o.Flavor == Stacked {
		return markOpaque(fd)
	}
	return setXattr(fd, path, s.o.Flavor.opaqueXattr(), "y")
}

// keepTime has a directory get back the time that it has now, if nothing else
// is due to it.
func (s *sink) keepTime(path string, fd int) error {
	if _, ok := s.late[path]; ok {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	s.late[path] = lateDir{timeOnly: true, time: time.Unix(st.Mtim.Unix())}
	return nil
}

// setLate says what a directory gets in the end.
func (s *sink) setLate(path string, e *Entry) {
	s.late[path] = lateDir{time: e.ModTime, mode: e.Mode, uid: e.UID, gid: e.GID, xattrs: e.Xattrs}
}

// hides tells whether something written here hides path of the layers below.
func (s *sink) hides(path string) bool {
	for p := path; len(s.opaque) > 0; p, _ = split(p) {
		if s.opaque[p] {
			return true
		}
		if p == "" {
			break
		}
	}
	return false
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
		s.forget(path)
		err = removeAll(fd, base)
	}
	if err == unix.ENOENT {
		return nil
	}
	s.removals++
	return err
}

// forget drops what is known of a directory and what is in it.
func (s *sink) forget(path string) {
	s.closeDirs(path)
	for p := range s.late {
		if within(p, path) {
			delete(s.late, p)
		}
	}
	for p := range s.opaque {
		if within(p, path) {
			delete(s.opaque, p)
		}
	}
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

// finish gives the directories what is due to them.
func (s *sink) finish() error {
	return s.finishThose(func(string, lateDir) bool { return true })
}

func (s *sink) finishThose(which func(path string, d lateDir) bool) error {
	var done []string
	for path, d := range s.late {
		if which(path, d) {
			done = append(done, path)
		}
	}
	for _, path := range done {
		if len(s.fds) > maxSinkFDs {
			s.closeDirs("")
		}
		fd, err := s.open(path)
		if err == nil {
			err = s.finishDir(fd, path, s.late[path])
		}
		if err != nil {
			return pathError("write", path, err)
		}
	}
	s.closeDirs("") // each is in late as long as it is open
	for _, path := range done {
		delete(s.late, path)
	}
	return nil
}

func (s *sink) finishDir(fd int, path string, d lateDir) error {
	if !d.timeOnly {
		e := d.entry(path)
		if err := s.dropXattrs(fd, e); err != nil {
			return err
		}
		if err := s.ownFD(fd, path, e); err != nil {
			return err
		}
		if err := unix.Fchmod(fd, s.mode(e)); err != nil {
			return err
		}
	}
	return setTime(fd, ".", d.time)
}

// dropXattrs takes off a directory the attributes that it shall not have.
func (s *sink) dropXattrs(fd int, e *Entry) error {
	if s.o.Unprivileged {
		return nil // they are in the record, which is written anew
	}
	x, err := xattrsOfFD(fd)
	if err != nil {
		return err
	}
	for name := range x.kept {
		if _, ok := e.Xattrs[name]; ok {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil {
			return err
		}
	}
	return nil
}
