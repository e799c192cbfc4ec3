package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

// Unpacker makes files of a tar's entries beneath a directory. A directory that is
// there already stays, and gets what the entry says of it; of other things an
// entry takes the place, but never a directory that of another thing, nor the
// other way round.
type Unpacker struct {
	// Owner gives a file's owner for that of its entry. Nil leaves files to who
	// makes them.
	Owner func(uid, gid int) (int, int)
	// Record puts owners on record that files can't have themselves.
	Record bool

	open  func(dir string) (*os.File, error)
	under string   // the directory, as errors name it
	top   *os.File // closed at the end; may be nil
	dir   *os.File // the directory at, which is likely to be needed again
	at    string
	made  []*tar.Header // directories, whose modes and times are set at the end
}

// In unpacks into a root's directory, where entries may lead through links.
func In(root *Root, dir string) *Unpacker {
	return &Unpacker{under: dir, open: func(name string) (*os.File, error) { return root.makeDir(dir + "/" + name) }}
}

// Beneath unpacks into a directory, where entries mustn't lead through links. Close
// closes it.
func Beneath(dir *os.File) *Unpacker {
	return &Unpacker{top: dir, open: func(name string) (*os.File, error) { return makeBeneath(dir, name) }}
}

func makeBeneath(dir *os.File, name string) (*os.File, error) {
	at, err := openAt(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil || name == "." {
		return at, named("open", name, err)
	}
	for _, part := range splitPath(name) {
		next, err := openAt(int(at.Fd()), part, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if errors.Is(err, unix.ENOENT) {
			if err = unix.Mkdirat(int(at.Fd()), part, 0o755); err == nil || errors.Is(err, unix.EEXIST) {
				next, err = openAt(int(at.Fd()), part, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			}
		}
		_ = at.Close()
		if err != nil {
			return nil, named("open", name, err)
		}
		at = next
	}
	return at, nil
}

func splitPath(name string) []string {
	var parts []string
	for name != "." && name != "/" {
		parts = append(parts, path.Base(name))
		name = path.Dir(name)
	}
	slices.Reverse(parts)
	return parts
}

// Add makes one entry's file; content is what follows the header. Devices, which
// nobody may make here, are left out.
func (u *Unpacker) Add(ctx context.Context, h *tar.Header, content io.Reader) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if climbs(h.Name) || h.Typeflag == tar.TypeLink && climbs(h.Linkname) {
		return fmt.Errorf("entry %q: it leads out of the directory", h.Name)
	}
	name := path.Clean("/" + h.Name)[1:]
	switch {
	case name == "", h.Typeflag == tar.TypeXGlobalHeader:
		return nil
	case h.Typeflag == tar.TypeChar, h.Typeflag == tar.TypeBlock:
		return nil // and what is in its place stays
	}
	dir, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	there, err := clearWay(dir, base, name, h.Typeflag == tar.TypeDir)
	if err != nil {
		return err
	}
	return named("write", path.Join("/", u.under, name), u.make(ctx, dir, base, there, h, content))
}

// parent opens the directory that an entry is in.
func (u *Unpacker) parent(name string) (int, error) {
	if u.dir == nil || u.at != name {
		dir, err := u.open(name)
		if err != nil {
			return -1, err
		}
		_ = u.closeDir()
		u.dir, u.at = dir, name
	}
	return int(u.dir.Fd()), nil
}

func (u *Unpacker) closeDir() error {
	if u.dir == nil {
		return nil
	}
	dir := u.dir
	u.dir = nil
	return dir.Close()
}

// clearWay removes what an entry is to take the place of. It tells whether
// something stays: a directory, or what something is mounted over.
func clearWay(dir int, base, name string, isDir bool) (there bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, named("lstat", "/"+name, err)
	case modeOf(&st) == fs.ModeDir && isDir:
		return true, nil
	case modeOf(&st) == fs.ModeDir:
		return true, fmt.Errorf("cannot overwrite directory %q with non-directory %q", "/"+name, path.Dir("/"+name))
	case isDir:
		return true, fmt.Errorf("cannot overwrite non-directory %q with directory %q", "/"+name, path.Dir("/"+name))
	}
	if mountedOver(dir, base) {
		return true, nil
	}
	return false, named("remove", "/"+name, unix.Unlinkat(dir, base, 0))
}

// mountedOver tells whether a name is where something is mounted. The kernel would
// end that mount with the name, where it is another mount namespace's.
func mountedOver(dir int, base string) bool {
	var x unix.Statx_t
	err := unix.Statx(dir, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &x)
	return err == nil && x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// make makes what the entry says.
func (u *Unpacker) make(ctx context.Context, dir int, base string, there bool, h *tar.Header, content io.Reader) error {
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		return u.makeDir(dir, base, there, h)
	case tar.TypeReg:
		return u.makeFile(ctx, dir, base, there, h, content)
	case tar.TypeLink:
		return u.makeLink(dir, base, h.Linkname)
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, dir, base)
	case tar.TypeFifo:
		err = unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0)
	default:
		return fmt.Errorf("entry of unknown type %q", h.Typeflag)
	}
	if err == nil {
		err = u.chown(dir, base, h)
	}
	if err == nil && h.Typeflag == tar.TypeFifo {
		err = unix.Fchmodat(dir, base, uint32(h.Mode)&0o7777, 0)
	}
	if err != nil {
		return err
	}
	return setTime(dir, base, h.ModTime)
}

// makeDir makes a directory that can be written to until the end.
func (u *Unpacker) makeDir(dir int, base string, there bool, h *tar.Header) error {
	if !there {
		if err := unix.Mkdirat(dir, base, 0o700); err != nil {
			return err
		}
	}
	if err := u.chown(dir, base, h); err != nil {
		return err
	}
	u.made = append(u.made, h)
	return nil
}

func (u *Unpacker) makeFile(ctx context.Context, dir int, base string, there bool, h *tar.Header, content io.Reader) error {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL
	if there {
		flags = unix.O_WRONLY | unix.O_TRUNC | unix.O_NONBLOCK
	}
	f, err := openAt(dir, base, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, contextReader{ctx, content})
	if err == nil {
		err = u.chown(dir, base, h)
	}
	if err == nil {
		err = unix.Fchmod(int(f.Fd()), uint32(h.Mode)&0o7777)
	}
	setAttributes(f, h.PAXRecords)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return setTime(dir, base, h.ModTime)
}

// makeLink links a name to one of the tar that came before.
func (u *Unpacker) makeLink(dir int, base, target string) error {
	target = path.Clean("/" + target)[1:]
	from, err := u.open(path.Dir(target))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return unix.Linkat(int(from.Fd()), path.Base(target), dir, base, 0)
}

func (u *Unpacker) chown(dir int, base string, h *tar.Header) error {
	if u.Owner == nil {
		return nil
	}
	uid, gid := u.Owner(h.Uid, h.Gid)
	if u.Record {
		return record(dir, base, h, uid, gid)
	}
	return unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// record puts the owner of a file or directory on record.
func record(dir int, base string, h *tar.Header, uid, gid int) error {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return nil
	}
	at := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
	was, group, _ := owner.Recorded(func(name string, value []byte) (int, error) { return unix.Lgetxattr(at, name, value) })
	if was == uint32(uid) && group == uint32(gid) {
		return nil
	}
	return unix.Lsetxattr(at, owner.Emulated, owner.Value(uint32(uid), uint32(gid)), 0)
}

func setTime(dir int, base string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.UtimesNanoAt(dir, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// Close ends the unpacking: directories get their modes and times, the innermost
// first. One that has gone meanwhile needs none.
func (u *Unpacker) Close() error {
	var errs []error
	for _, h := range slices.Backward(u.made) {
		if err := u.settle(h); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, u.closeDir())
	if u.top != nil {
		errs = append(errs, u.top.Close())
	}
	return errors.Join(errs...)
}

func (u *Unpacker) settle(h *tar.Header) error {
	name := path.Clean("/" + h.Name)[1:]
	dir, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	f, err := openAt(dir, path.Base(name), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return named("open", "/"+name, err)
	}
	defer func() { _ = f.Close() }()
	setAttributes(f, h.PAXRecords)
	err = unix.Fchmod(int(f.Fd()), uint32(h.Mode)&0o7777)
	if err == nil {
		err = setTime(dir, path.Base(name), h.ModTime)
	}
	if u.Owner == nil && errors.Is(err, fs.ErrPermission) {
		return nil // it was there, and is somebody else's
	}
	return named("chmod", "/"+name, err)
}
