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
	Owner Owner
}

// SetOwners goes through such files.
type SetOwners func(fn func(SetOwner) error) error

// FindOwners puts into owners the paths that files of the directory have now. What
// isn't there any more is passed over.
func FindOwners(dir string, files SetOwners, owners *Owners) (err error) {
	f := finder{wanted: spool.NewMap(owners.temp), found: spool.NewMap(owners.temp), owners: owners}
	defer func() { err = errors.Join(err, f.wanted.Close(), f.found.Close()) }()
	err = files(func(set SetOwner) error {
		text, err := json.Marshal(set.Owner)
		return errors.Join(err, f.wanted.Set(inodeKey(set.Inode), string(text)))
	})
	if err != nil {
		return err
	}
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer closeFD(fd)
	if err := f.find(fd, ""); err != nil {
		return err
	}
	// A driver that copied a file up may have shown the number that it has below.
	return files(func(set SetOwner) error {
		if _, ok, err := f.found.Get(set.Path); ok || err != nil {
			return err
		}
		dir, base := split(set.Path)
		if special, err := isSpecial(fd, dir, base); err == nil && special {
			return owners.set(set.Path, set.Owner)
		}
		return nil
	})
}

// finder looks for files by their inodes.
type finder struct {
	wanted *spool.Map // the owners of inodes, as their record has them
	found  *spool.Map // paths
	owners *Owners
}

func inodeKey(n uint64) string { return string(binary.NativeEndian.AppendUint64(nil, n)) }

// isSpecial tells whether a path is a file that bears no attributes.
func isSpecial(root int, dir, base string) (bool, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_DIRECTORY, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	if dir == "" {
		dir = "."
	}
	fd, err := unix.Openat2(root, dir, how)
	if err != nil {
		return false, err
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := lstatAt(fd, base, &st); err != nil {
		return false, err
	}
	return !isWhiteout(&st) && bearsNone(&st), nil
}

func bearsNone(st *unix.Stat_t) bool {
	t := typeOf(st.Mode)
	return t != 0 && t != TypeReg && t != TypeDir
}

func (f *finder) find(fd int, path string) error {
	names, err := readNames(fd)
	if err != nil {
		return pathError("list", path, err)
	}
	for n := range names.all() {
		var st unix.Stat_t
		if err := lstatAt(fd, n.name, &st); err != nil {
			return pathError("lstat", join(path, n.name), err)
		}
		if typeOf(st.Mode) == TypeDir {
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
		if !bearsNone(&st) || isWhiteout(&st) {
			continue
		}
		if err := f.match(join(path, n.name), st.Ino); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) match(path string, inode uint64) error {
	text, ok, err := f.wanted.Get(inodeKey(inode))
	if err != nil || !ok {
		return err
	}
	return errors.Join(f.owners.setText(path, text), f.found.Set(path, ""))
}
