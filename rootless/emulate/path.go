package emulate

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// file is what a call is about.
type file struct {
	// at is a link of /proc that leads to the file itself, in whatever mount
	// namespace it is.
	at string
	fd int // of ours, or -1
	st unix.Stat_t
}

func (f *file) close() {
	if f.fd >= 0 {
		_ = unix.Close(f.fd)
	}
}

func (f *file) mode() uint32 { return f.st.Mode & unix.S_IFMT }

// mount is the number of the mount that the file was reached by.
func (f *file) mount() uint64 {
	if f.fd >= 0 {
		return mountOf(f.fd, "", unix.AT_EMPTY_PATH)
	}
	return mountOf(unix.AT_FDCWD, f.at, 0)
}

// plainType tells whether the file can bear attributes of users.
func (f *file) plainType() bool { return f.mode() == unix.S_IFREG || f.mode() == unix.S_IFDIR }

// lookUp finds the file of a call that has a descriptor, a path and flags of *at.
func (c *caller) lookUp(dir int, path string, flags int) (*file, error) {
	if path == "" {
		if flags&unix.AT_EMPTY_PATH == 0 {
			return nil, unix.ENOENT
		}
		return c.opened(dir)
	}
	if fd, ok := descriptorOf(path); ok && flags&unix.AT_SYMLINK_NOFOLLOW == 0 {
		return c.opened(fd)
	}
	fd, err := c.resolve(dir, path, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
	if err != nil {
		return nil, err
	}
	f := &file{at: procFD(fd), fd: fd}
	if err := unix.Fstat(fd, &f.st); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// opened is the file of one of the caller's descriptors.
func (c *caller) opened(fd int) (*file, error) {
	f := &file{at: c.place(fd), fd: -1}
	return f, unix.Stat(f.at, &f.st)
}

// place is the link of a directory that a path starts from.
func (c *caller) place(fd int) string {
	if fd == unix.AT_FDCWD {
		return fmt.Sprintf("/proc/%d/cwd", c.tid())
	}
	return fmt.Sprintf("/proc/%d/fd/%d", c.tid(), fd)
}

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// descriptorOf knows the paths that are a process's own descriptors. In the
// caller's /proc this process isn't seen, so "self" leads nowhere.
func descriptorOf(p string) (int, bool) {
	switch p {
	case "/dev/stdin":
		return 0, true
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, dir := range []string{"/proc/self/fd/", "/dev/fd/", "/proc/thread-self/fd/"} {
		if number, ok := strings.CutPrefix(p, dir); ok {
			fd, err := strconv.Atoi(number)
			return fd, err == nil
		}
	}
	return -1, false
}

// resolve opens a path as the caller would, for nothing but to name the file: its
// links never lead out of the caller's root directory.
func (c *caller) resolve(dir int, p string, follow bool) (int, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	root := fmt.Sprintf("/proc/%d/root", c.tid())
	if path.IsAbs(p) {
		return openBelow(root, p, flags, unix.RESOLVE_IN_ROOT)
	}
	from := c.place(dir)
	fd, err := openBelow(from, p, flags, unix.RESOLVE_BENEATH)
	if err != unix.EXDEV {
		return fd, err
	}
	// The path leads upwards, or over an absolute link.
	start, err := below(root, from)
	if err != nil {
		return -1, err
	}
	return openBelow(root, start+"/"+p, flags, unix.RESOLVE_IN_ROOT)
}

// below is the path of a link's file in a root directory.
func below(root, link string) (string, error) {
	top, err := os.Readlink(root)
	if err != nil {
		return "", err
	}
	p, err := os.Readlink(link)
	if err != nil {
		return "", err
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(p, top), "/"), nil
}

// openBelow opens p in a directory that it can't leave.
func openBelow(dir, p string, flags int, resolve uint64) (int, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(at) }()
	how := unix.OpenHow{Flags: uint64(flags), Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS}
	for range 16 {
		fd, err := unix.Openat2(at, p, &how)
		if err != unix.EAGAIN && err != unix.EINTR { // somebody renamed something
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}
