package layer

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/spool"
)

// SetOwner is a link or special file to which a program has given an owner.
type SetOwner struct {
	// Path is the one that it had then; it may have been renamed or removed since.
	Path  string
	Inode uint64
	// Born is when the file was made, 0 where the driver doesn't show it, and Changed
	// when it was given the owner; 0 leaves it open.
	Born, Changed unix.StatxTimestamp
	Owner         Owner
}

// is tells whether a file that has the number or the name can be the one: it isn't
// another that came to be in its place.
func (s *SetOwner) is(x *unix.Statx_t) bool {
	if !isSpecial(x) {
		return false
	}
	none := unix.StatxTimestamp{}
	switch {
	case x.Mask&unix.STATX_BTIME == 0:
		return true
	case s.Born != none:
		return x.Btime == s.Born
	}
	return s.Changed == none || !later(x.Btime, s.Changed)
}

func later(a, b unix.StatxTimestamp) bool {
	return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec
}

// SetOwners goes through such files.
type SetOwners func(fn func(SetOwner) error) error

// FindOwners puts into owners the paths that files of the directory have now. What
// isn't there any more is passed over.
func FindOwners(dir string, files SetOwners, owners *Owners) (err error) {
	f := finder{wanted: spool.NewMap(owners.temp), owners: owners}
	defer func() { err = errors.Join(err, f.wanted.Close()) }()
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer closeFD(fd)
	if err := files(func(set SetOwner) error { return f.want(fd, set) }); err != nil {
		return err
	}
	return f.find(fd, "")
}

// finder looks for files by their inodes, for they may have been renamed, or have got
// more names.
type finder struct {
	wanted *spool.Map // what is known of inodes
	owners *Owners
}

// want has a file looked for: by the number of what stands at its path, where that can
// be it. A driver that copied it up may have shown the number that it has below.
func (f *finder) want(root int, set SetOwner) error {
	inode := set.Inode
	x, err := statxBelow(root, set.Path)
	if err == nil && set.is(x) {
		inode = x.Ino
	} else if _, ok, err := f.wanted.Get(inodeKey(inode)); ok || err != nil {
		return err
	}
	text, err := json.Marshal(set)
	return errors.Join(err, f.wanted.Set(inodeKey(inode), string(text)))
}

func inodeKey(n uint64) string { return string(binary.NativeEndian.AppendUint64(nil, n)) }

// statxBelow looks at a path without following links.
func statxBelow(root int, path string) (*unix.Statx_t, error) {
	dir, base := split(path)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_DIRECTORY, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	if dir == "" {
		dir = "."
	}
	fd, err := unix.Openat2(root, dir, how)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	return statxAt(fd, base)
}

func statxAt(dirfd int, name string) (*unix.Statx_t, error) {
	x := new(unix.Statx_t)
	err := unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, x)
	return x, err
}

// isSpecial tells whether a file bears no attributes, and is no whiteout.
func isSpecial(x *unix.Statx_t) bool {
	t := typeOf(uint32(x.Mode))
	whiteout := t == TypeChar && x.Rdev_major == 0 && x.Rdev_minor == 0
	return t != 0 && t != TypeReg && t != TypeDir && !whiteout
}

func (f *finder) find(fd int, path string) error {
	names, err := readNames(fd)
	if err != nil {
		return pathError("list", path, err)
	}
	for n := range names.all() {
		x, err := statxAt(fd, n.name)
		if err != nil {
			return pathError("lstat", join(path, n.name), err)
		}
		if typeOf(uint32(x.Mode)) == TypeDir {
			below, err := openDir(fd, n.name)
			if err == nil {
				err = f.find(below, join(path, n.name))
				closeFD(below)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := f.match(join(path, n.name), x); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) match(path string, x *unix.Statx_t) error {
	if !isSpecial(x) {
		return nil
	}
	text, ok, err := f.wanted.Get(inodeKey(x.Ino))
	if err != nil || !ok {
		return err
	}
	var set SetOwner
	if err := json.Unmarshal([]byte(text), &set); err != nil || !set.is(x) {
		return err
	}
	return f.owners.set(path, set.Owner)
}
