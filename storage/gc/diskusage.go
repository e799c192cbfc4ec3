package gc

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/dirnames"
)

// diskUsage gives the bytes that a tree takes, each file once. What another id
// mapping has closed to this one isn't counted, and neither is what lies too deep
// for a path of the kernel's: a stranger's tree may be of any depth, and must not
// keep the cache from being pruned.
func diskUsage(root string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return 0, unlessClosed("lstat", root, err)
	}
	u := treeUsage{bytes: st.Blocks * 512, linked: map[inode]bool{}, buf: make([]byte, dirnames.Buffer)}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		u.dirs = []string{root}
	}
	for len(u.dirs) > 0 {
		last := len(u.dirs) - 1
		dir := u.dirs[last]
		u.dirs = u.dirs[:last]
		if err := u.dir(dir); err != nil {
			return u.bytes, err
		}
	}
	return u.bytes, nil
}

// treeUsage is what has been counted of a tree.
type treeUsage struct {
	bytes  int64
	linked map[inode]bool // files of several names that are counted
	dirs   []string       // those whose names are still to be counted
	buf    []byte
}

type inode struct{ dev, ino uint64 }

func (u *treeUsage) dir(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return unlessClosed("open", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	names, err := dirnames.Read(fd, u.buf)
	if err != nil {
		return unlessClosed("readdir", path, err)
	}
	for name := range names.All() {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if err := unlessClosed("lstat", filepath.Join(path, name), err); err != nil {
				return err
			}
			continue
		}
		u.count(&st)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			u.dirs = append(u.dirs, filepath.Join(path, name))
		}
	}
	return nil
}

func (u *treeUsage) count(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // 32 bits wide on some machines
		if u.linked[id] {
			return
		}
		u.linked[id] = true
	}
	u.bytes += st.Blocks * 512
}

// unlessClosed is the error but for what isn't counted, or has gone meanwhile.
func unlessClosed(op, path string, err error) error {
	for _, known := range []error{unix.ENOENT, unix.EACCES, unix.EPERM, unix.ENAMETOOLONG, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, known) {
			return nil
		}
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
