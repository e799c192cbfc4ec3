package context

import (
	"os"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

// Open opens a plain file that Walk or Lstat gave. It fails where something
// else has taken its place since. The caller closes it.
func (d *Dir) Open(e *Entry) (*os.File, error) {
	fd, err := d.openFile(e)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path.Join(d.root, e.Path)), nil
}

// Unchanged says by a *fault.Error that a file differs from what Walk saw. A
// caller that copies a file asks when it has read it whole: what it read is
// then what Digest told.
func (d *Dir) Unchanged(e *Entry, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var unchanged error
	if err := raw.Control(func(fd uintptr) { unchanged = sameFile(e, int(fd)) }); err != nil {
		return err
	}
	return unchanged
}

// openFile opens a plain file for reading and makes sure that it is the one
// that the entry describes.
func (d *Dir) openFile(e *Entry) (int, error) {
	// Without O_NONBLOCK a FIFO that took the file's place would hang us.
	fd, err := d.openPath(e.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return -1, d.unreadable(e.Path, err)
	}
	if err := sameFile(e, fd); err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// sameFile compares an open file with the entry's stat data.
func sameFile(e *Entry, fd int) error {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return &os.PathError{Op: "stat", Path: e.Path, Err: err}
	}
	is, was := statOf(&now), &e.Stat
	if is.Ino == was.Ino && is.Dev == was.Dev && is.Mode == was.Mode && is.Size == was.Size &&
		is.Mtim == was.Mtim && is.Ctim == was.Ctim {
		return nil
	}
	return fault.New("build again when nothing writes to it, or leave it out by .dockerignore",
		"%s changed while the build context was read", e.Path)
}

// unreadable explains why something in the context can't be opened.
func (d *Dir) unreadable(rel string, err error) error {
	remedy := ""
	if err == unix.EACCES || err == unix.EPERM {
		remedy = "make it readable for you, or leave it out by a line in .dockerignore"
	}
	return fault.New(remedy, "the build context's %s: %w", shown(rel), err)
}

// resolveInside is how every path in a context is opened: no link is followed
// and nothing leads out.
const resolveInside = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// openPath opens a clean relative path without following any link. With O_PATH
// a link itself is opened.
func (d *Dir) openPath(rel string, flags int) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	if rel == "" {
		rel = "."
	}
	if d.byParts {
		return d.openByParts(rel, flags)
	}
	for {
		fd, err := unix.Openat2(d.fd, rel, &unix.OpenHow{Flags: uint64(flags), Resolve: resolveInside})
		// EAGAIN: something was renamed meanwhile and the kernel can't be sure.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// openRoot opens the directory that all other paths are seen from.
func openRoot(dir string) (int, error) {
	return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// haveOpenat2 asks for what the kernel has had since 5.6 and older seccomp
// profiles refuse.
func (d *Dir) haveOpenat2() bool {
	fd, err := unix.Openat2(d.fd, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveInside})
	if err != nil {
		return false
	}
	closeFD(fd)
	return true
}

// openByParts is openPath by one openat for each component.
func (d *Dir) openByParts(rel string, flags int) (int, error) {
	dir := d.fd
	for {
		name, rest, more := strings.Cut(rel, "/")
		step := flags
		if more {
			step = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := unix.Openat(dir, name, step, 0)
		if dir != d.fd {
			closeFD(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, rel = fd, rest
	}
}

// closeFD closes a descriptor that was only read from, where closing has
// nothing to tell.
func closeFD(fd int) { _ = unix.Close(fd) }

// readlinkat reads a link's target; size is what lstat says of its length.
func readlinkat(dirfd int, name string, size int64) (string, error) {
	buf := make([]byte, max(size, 255)+1)
	for {
		n, err := unix.Readlinkat(dirfd, name, buf)
		if err != nil {
			return "", err
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, 2*len(buf))
	}
}

// cleanPath makes a path relative to the context's root; "" is the root. What
// climbs above the root stays at it, as docker reads ../x.
func cleanPath(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// shown is how errors call a path.
func shown(rel string) string {
	if rel == "" {
		return "root directory"
	}
	return rel
}
