package layer

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// touchesLower tells whether an upper directory holds anything by a name that
// the tree below has, other than directories that both have. Whatever was
// copied up is such a name, or has left a whiteout or a replacement at one when
// it was renamed: where this finds nothing, nothing was copied up. It doesn't
// look into new directories, where most of what a step writes lies.
func touchesLower(ctx context.Context, upper string, parent *Tree) (bool, error) {
	fd, err := openat(unix.AT_FDCWD, upper, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, pathError("open", upper, err)
	}
	defer closeFD(fd)
	return dirTouchesLower(ctx, fd, "", parent)
}

func dirTouchesLower(ctx context.Context, fd int, dir string, parent *Tree) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	names, err := readNames(fd)
	if err != nil {
		return false, pathError("readdir", dir, err)
	}
	for d := range names.all() {
		// What marks a deletion or an opaque directory; see [Upper].
		if strings.HasPrefix(d.name, whPrefix) {
			return true, nil
		}
		if touched, err := nameTouchesLower(ctx, fd, join(dir, d.name), d.name, parent); touched || err != nil {
			return touched, err
		}
	}
	return false, nil
}

func nameTouchesLower(ctx context.Context, fd int, path, name string, parent *Tree) (bool, error) {
	var st unix.Stat_t
	if err := lstatAt(fd, name, &st); err != nil {
		return false, pathError("lstat", path, err)
	}
	if isWhiteout(&st) {
		return true, nil
	}
	old, err := parent.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if old.Type != TypeDir || typeOf(st.Mode) != TypeDir {
		return true, nil
	}
	sub, err := openDir(fd, name)
	if err != nil {
		return false, pathError("open", path, err)
	}
	defer closeFD(sub)
	x, err := xattrsOfFD(sub)
	if err != nil || x.opaque {
		return x.opaque, pathError("listxattr", path, err)
	}
	return dirTouchesLower(ctx, sub, path, parent)
}
