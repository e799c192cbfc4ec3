package layer

import (
	"errors"
	"io"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/dirnames"
)

const (
	openDirFlags  = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	openFileFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
)

// dirent is a name in a directory, with the DT_ type that the directory keeps
// of it (DT_UNKNOWN on some file systems).
type dirent struct {
	name string
	typ  byte
}

// typeIn gives the DT_ type of a name in the directory fd.
func (d dirent) typeIn(fd int) (byte, error) {
	if d.typ != unix.DT_UNKNOWN {
		return d.typ, nil
	}
	var st unix.Stat_t
	err := lstatAt(fd, d.name, &st)
	return byte(st.Mode & unix.S_IFMT >> 12), err
}

// openDir opens a directory inside another one, never through a link.
func openDir(dirfd int, name string) (int, error) { return openat(dirfd, name, openDirFlags, 0) }

// openat is openat(2), again where a signal came between.
func openat(dirfd int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func lstatAt(dirfd int, name string, st *unix.Stat_t) error {
	return unix.Fstatat(dirfd, name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// readNames lists an open directory from its beginning, sorted by name.
func readNames(fd int) (dirents, error) {
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	list, err := dirnames.Read(fd, *buf)
	return dirents{list}, err
}

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, dirnames.Buffer); return &b }}

// dirents are the names in a directory.
type dirents struct{ dirnames.List }

func (l dirents) all() iter.Seq[dirent] {
	return func(yield func(dirent) bool) {
		l.All()(func(name string, kind byte) bool { return yield(dirent{name, kind}) })
	}
}

func (l *dirents) delete(which func(dirent) bool) {
	l.Delete(func(name string, kind byte) bool { return which(dirent{name, kind}) })
}

// readlinkAt reads a link of any length.
func readlinkAt(dirfd int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dirfd, name, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// procPath names an entry for the calls that know no directory descriptors.
// The directory is reached by its descriptor all the same, and the l… forms of
// those calls don't follow the last component.
func procPath(dirfd int, name string) string {
	p := "/proc/self/fd/" + strconv.Itoa(dirfd)
	if name == "" {
		return p + "/."
	}
	return p + "/" + name
}

// setTime sets only the time of change, of a link itself where name is one. Where
// the machine's times have 32 bits, those after 2038 are an error.
func setTime(dirfd int, name string, t time.Time) error {
	modified, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, modified}
	return unix.UtimesNanoAt(dirfd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// rawFile reads a descriptor without the runtime's poller, whose set-up costs
// more than reading a small file does.
type rawFile struct{ fd int }

func (f rawFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Read(f.fd, p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (f rawFile) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(f.fd, p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// ReadAt reads no less than it can.
func (f rawFile) ReadAt(p []byte, at int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], at+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

func (f rawFile) Close() error { return unix.Close(f.fd) }

// sparseFile reads a file whose holes needn't be read: the kernel would fill
// its cache with their zeros.
type sparseFile struct {
	rawFile
	size     int64
	at       int64
	dataEnds int64 // where the data around at ends; at or less in a hole
	holeEnds int64
}

func (f *sparseFile) Read(p []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	if f.at >= f.dataEnds && f.at >= f.holeEnds {
		if err := f.find(); err != nil {
			return 0, err
		}
	}
	if f.at < f.holeEnds {
		n := int(min(int64(len(p)), f.holeEnds-f.at))
		clear(p[:n])
		f.at += int64(n)
		return n, nil
	}
	n, err := unix.Pread(f.fd, p[:min(int64(len(p)), f.dataEnds-f.at)], f.at)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	f.at += int64(n)
	return n, nil
}

// find looks whether data or a hole comes next.
func (f *sparseFile) find() error {
	start, err := unix.Seek(f.fd, f.at, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO:
		f.holeEnds = f.size
		return nil
	case err == unix.EINVAL:
		f.dataEnds = f.size
		return nil
	case err != nil:
		return err
	}
	f.holeEnds = start
	f.dataEnds, err = unix.Seek(f.fd, start, unix.SEEK_HOLE)
	return err
}

// closeFD closes a descriptor that was only read from: such a close can't
// lose anything.
func closeFD(fd int) { _ = unix.Close(fd) }

// pathError says which file of a tree an error of the system is about, unless
// the error tells that already.
func pathError(op, name string, err error) error {
	var told *fs.PathError
	var errno unix.Errno
	if errors.As(err, &told) || !errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &fs.PathError{Op: op, Path: "/" + name, Err: err}
}

// split parts a path of ours into directory and last name; the directory of a
// top-level name is "".
func split(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// clean brings a path into the form that [Entry.Path] has.
func clean(p string) string {
	return path.Clean("/" + p)[1:]
}
