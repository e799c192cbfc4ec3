package layer

import "golang.org/x/sys/unix"

// SetOwner is a link or special file to which a program has given an owner.
type SetOwner struct {
	// Path is the one that it had then; it may have been renamed or removed since.
	Path  string
	Inode uint64
	Owner Owner
}

// FindOwners puts into owners the paths that files of the directory have now. What
// isn't there any more is passed over.
func FindOwners(dir string, files []SetOwner, owners *Owners) error {
	if len(files) == 0 {
		return nil
	}
	wanted := map[uint64]Owner{}
	for _, f := range files {
		wanted[f.Inode] = f.Owner
	}
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer closeFD(fd)
	found := map[string]Owner{}
	if err := findOwners(fd, "", wanted, found); err != nil {
		return err
	}
	// A driver that copied a file up may have shown the number that it has below.
	for _, f := range files {
		dir, base := split(f.Path)
		if _, ok := found[f.Path]; ok {
			continue
		}
		if special, err := isSpecial(fd, dir, base); err == nil && special {
			found[f.Path] = f.Owner
		}
	}
	for path, o := range found {
		if err := owners.set(path, o); err != nil {
			return err
		}
	}
	return nil
}

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

func findOwners(fd int, path string, wanted map[uint64]Owner, found map[string]Owner) error {
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
				err = findOwners(below, join(path, n.name), wanted, found)
				closeFD(below)
			}
			if err != nil {
				return err
			}
			continue
		}
		if o, ok := wanted[st.Ino]; ok && bearsNone(&st) && !isWhiteout(&st) {
			found[join(path, n.name)] = o
		}
	}
	return nil
}
