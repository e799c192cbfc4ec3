package layer

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// keepDirBits gives directories of an upper directory the set-user-ID and
// set-group-ID bits that fuse-overlayfs 1.10 loses when it copies a directory up:
// it makes it by mkdir, which takes none. That a command took them away looks the
// same, and is believed where nothing else of the directory has changed.
func keepDirBits(ctx context.Context, upper string, parent *Tree) error {
	fd, err := openat(unix.AT_FDCWD, upper, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", upper, err)
	}
	defer closeFD(fd)
	return keepBits(ctx, fd, "", parent)
}

// keepBits mends a directory that both have, and those in it.
func keepBits(ctx context.Context, fd int, dir string, parent *Tree) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	old, err := parent.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || old.Type != TypeDir {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return pathError("readdir", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("lstat", dir, err)
	}
	const bits = unix.S_ISUID | unix.S_ISGID
	lost := uint32(old.Mode) & bits &^ st.Mode
	was := &old.Stat
	if lost != 0 && (names.Len() > 0 || st.Uid != was.Uid || st.Gid != was.Gid || st.Mtim != was.Mtim) {
		if err := unix.Fchmod(fd, st.Mode&0o7777|lost); err != nil {
			return pathError("chmod", dir, err)
		}
	}
	for d := range names.all() {
		if strings.HasPrefix(d.name, whPrefix) {
			continue
		}
		if err := keepBitsIn(ctx, fd, join(dir, d.name), d, parent); err != nil {
			return err
		}
	}
	return nil
}

func keepBitsIn(ctx context.Context, fd int, path string, d dirent, parent *Tree) error {
	typ, err := d.typeIn(fd)
	if err != nil || typ != unix.DT_DIR {
		return pathError("lstat", path, err)
	}
	sub, err := openDir(fd, d.name)
	if err != nil {
		return pathError("open", path, err)
	}
	defer closeFD(sub)
	x, err := xattrsOfFD(sub)
	if err != nil || x.opaque {
		return pathError("listxattr", path, err)
	}
	return keepBits(ctx, sub, path, parent)
}
