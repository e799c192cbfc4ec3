package layer

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

// CopyTree copies what is in src into the existing directory dst, with owners,
// modes, attributes and times, and notes the copy for [Compare] in a file. Each
// name of a file with several becomes a file of its own: an overlay parts them as
// well when one is written to. Blocks are shared where the file system can.
func CopyTree(ctx context.Context, dst, src, note string) (*Base, error) {
	from, err := openat(unix.AT_FDCWD, src, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, pathError("open", src, err)
	}
	defer closeFD(from)
	to, err := openat(unix.AT_FDCWD, dst, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, pathError("open", dst, err)
	}
	defer closeFD(to)
	c := &copier{ctx: ctx, buf: make([]byte, 256<<10)}
	if err := c.dir(from, to, ""); err != nil {
		return nil, err
	}
	return NoteBase(ctx, dst, note)
}

type copier struct {
	ctx context.Context
	buf []byte
}

// dir copies a directory's names and then what it is itself.
func (c *copier) dir(from, to int, path string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(from)
	if err != nil {
		return pathError("readdir", path, err)
	}
	for d := range names.all() {
		if err := c.name(from, to, d.name, join(path, d.name)); err != nil {
			return pathError("copy", join(path, d.name), err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return pathError("copy", path, err)
	}
	return pathError("copy", path, c.meta(from, to, &st))
}

func (c *copier) name(from, to int, name, path string) error {
	var st unix.Stat_t
	if err := lstatAt(from, name, &st); err != nil {
		return err
	}
	switch typeOf(st.Mode) {
	case TypeDir:
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return err
		}
		return c.pair(from, to, name, openDirFlags, openDirFlags, func(in, out int) error { return c.dir(in, out, path) })
	case TypeReg:
		create := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		return c.pair(from, to, name, openFileFlags, create, func(in, out int) error {
			if err := c.content(in, out, st.Size); err != nil {
				return err
			}
			return c.meta(in, out, &st)
		})
	case 0:
		return nil
	case TypeSymlink:
		target, err := readlinkAt(from, name)
		if err == nil {
			err = unix.Symlinkat(target, to, name)
		}
		if err != nil {
			return err
		}
	default:
		if err := unix.Mknodat(to, name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
			return err
		}
	}
	return c.special(to, name, &st)
}

// special gives a link or special file its owner, mode and time.
func (c *copier) special(to int, name string, st *unix.Stat_t) error {
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if typeOf(st.Mode) != TypeSymlink {
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	return unix.UtimesNanoAt(to, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// pair opens a name on both sides.
func (c *copier) pair(from, to int, name string, flagsIn, flagsOut int, fn func(in, out int) error) error {
	in, err := openat(from, name, flagsIn, 0)
	if err != nil {
		return err
	}
	defer closeFD(in)
	out, err := openat(to, name, flagsOut, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(fn(in, out), unix.Close(out))
}

// meta copies owner, attributes, mode and time, in the order in which one
// doesn't undo another.
func (c *copier) meta(in, out int, st *unix.Stat_t) error {
	if err := unix.Fchown(out, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyXattrs(in, out); err != nil {
		return err
	}
	if err := unix.Fchmod(out, st.Mode&0o7777); err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	return unix.UtimesNanoAt(out, "", times, unix.AT_EMPTY_PATH)
}

func copyXattrs(in, out int) error {
	x, err := xattrsOfFD(in)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{overrideStat: x.override, owner.Emulated: x.emulated} {
		if value == "" {
			continue
		}
		if err := unix.Fsetxattr(out, name, []byte(value), 0); err != nil {
			return err
		}
	}
	for name, value := range x.kept {
		if err := unix.Fsetxattr(out, name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// content copies a file's data, sharing its blocks where that is possible and
// leaving its holes.
func (c *copier) content(in, out int, size int64) error {
	if size == 0 || unix.IoctlFileClone(out, in) == nil {
		return nil
	}
	if err := unix.Ftruncate(out, size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		start, err := unix.Seek(in, at, unix.SEEK_DATA)
		end := size
		switch err {
		case nil:
			end, err = unix.Seek(in, start, unix.SEEK_HOLE)
		case unix.ENXIO:
			return nil
		case unix.EINVAL:
			start, err = at, nil
		}
		if err != nil {
			return err
		}
		if err := c.span(in, out, start, min(end, size)); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// span copies the bytes from start to end.
func (c *copier) span(in, out int, start, end int64) error {
	for start < end {
		n, err := unix.Pread(in, c.buf[:min(int64(len(c.buf)), end-start)], start)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		for done := 0; done < n; {
			m, err := unix.Pwrite(out, c.buf[done:n], start+int64(done))
			if err != nil && err != unix.EINTR {
				return err
			}
			done += max(m, 0)
		}
		start += int64(n)
	}
	return nil
}
