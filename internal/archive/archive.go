// Package archive carries files in a tar, from one directory to another that may
// be changing under hostile hands. [Pack] writes a file, or a directory with all
// beneath; an [Unpacker] makes files of the entries. Both go from descriptor to
// descriptor: of what lies in the directories no link is followed, unless a
// [Root] does it, inside itself.
package archive

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// Root is a directory in which paths are resolved as a program sees them whose
// root directory it is: links lead nowhere else, whoever changes them meanwhile.
type Root struct{ dir *os.File }

// OpenRoot opens a directory as a root.
func OpenRoot(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Root{f}, nil
}

// Close closes it.
func (r *Root) Close() error { return r.dir.Close() }

// OpenDir opens a directory. The error is one of the path.
func (r *Root) OpenDir(name string) (*os.File, error) {
	handle, err := pathrs.OpenatInRoot(r.dir, name)
	if err != nil {
		return nil, named("open", name, err)
	}
	defer func() { _ = handle.Close() }()
	f, err := openAt(int(handle.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return f, named("open", name, err)
}

// Lstat tells the type of what has a name, and where it leads to, if it is a link.
func (r *Root) Lstat(name string) (mode fs.FileMode, link string, err error) {
	dir, base := Split(name)
	if base == "." {
		f, err := r.OpenDir(dir)
		if err != nil {
			return 0, "", err
		}
		return fs.ModeDir, "", f.Close()
	}
	f, err := r.OpenDir(dir)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstatat(int(f.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, "", named("lstat", name, err)
	}
	if mode = modeOf(&st); mode&fs.ModeSymlink != 0 {
		link, err = readLink(int(f.Fd()), base)
	}
	return mode, link, named("readlink", name, err)
}

// Split parts a path's last name from the directory that it is in, and leaves all
// else as it stands: what .. means isn't told by the path alone. A path that ends
// so is a directory itself, and its last name is ".".
func Split(name string) (dir, base string) {
	name = strings.TrimRight(name, "/")
	dir, base = path.Split(name)
	switch {
	case base == "" || base == "." || base == "..":
		return name + "/", "."
	case dir == "":
		return ".", base
	}
	return dir, base
}

// makeDir opens a directory, and makes it and those that lead there where they are
// missing.
func (r *Root) makeDir(name string) (*os.File, error) {
	f, err := r.OpenDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	handle, err := pathrs.MkdirAllHandle(r.dir, name, 0o755)
	if err != nil {
		return nil, named("mkdir", name, err)
	}
	defer func() { _ = handle.Close() }()
	f, err = openAt(int(handle.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return f, named("open", name, err)
}

// modeOf gives the type alone.
func modeOf(st *unix.Stat_t) fs.FileMode {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFCHR:
		return fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		return fs.ModeDevice
	case unix.S_IFSOCK:
		return fs.ModeSocket
	}
	return fs.ModeIrregular
}

// openAt opens a name in an open directory. A link is an error.
func openAt(dir int, name string, flags int, mode uint32) (*os.File, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, err
		}
	}
}

func readLink(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		b := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, b)
		if err != nil || n < size {
			return string(b[:max(n, 0)]), err
		}
	}
}

// named gives an error of a system call the name that it befell.
func named(op, name string, err error) error {
	var known *fs.PathError
	if err == nil {
		return nil
	}
	if errors.As(err, &known) {
		err = known.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// climbs tells a path that leads out of where it begins.
func climbs(name string) bool {
	name = path.Clean(name)
	return name == ".." || strings.HasPrefix(name, "../")
}
