package context

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// headSize is how much tells an archive from a text: a tar header with the
// extended ones that may stand before it.
const headSize = 4 << 10

// HeadSize is how many bytes IsArchive wants to see, where there are so many.
const HeadSize = headSize

// IsArchive says whether a stream that begins so is a tar archive, plain or
// compressed, as docker tells: what is compressed was never a Dockerfile.
func IsArchive(head []byte) bool {
	r, kind, err := layer.Decompress(bytes.NewReader(head))
	if err != nil {
		return kind != "" || len(head) > 1 && head[0] == 0x1f && head[1] == 0x8b
	}
	defer r.Close()
	if kind != "none" {
		return true
	}
	const block = 512
	if len(head) < block {
		return false
	}
	_, err = tar.NewReader(bytes.NewReader(head)).Next()
	return !errors.Is(err, tar.ErrHeader)
}

// unpack writes a tar archive, which may be compressed, into an empty directory.
// Names and links may lead around in it and never out of it. Owners and extended
// attributes are left behind, as those of a checkout are. newest is the latest
// time in it.
func unpack(ctx context.Context, r io.Reader, dir string) (newest time.Time, err error) {
	plain, _, err := layer.Decompress(r)
	if err != nil {
		return newest, badArchive(err)
	}
	defer plain.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return newest, err
	}
	defer root.Close()
	u := &unpacker{ctx: ctx, root: root, tar: tar.NewReader(plain), dirs: map[string]*tar.Header{}}
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			return newest, u.finishDirs()
		}
		if err != nil {
			return newest, badArchive(err)
		}
		if err := u.entry(h); err != nil {
			return newest, entryError(h.Name, err)
		}
		if h.ModTime.After(newest) {
			newest = h.ModTime
		}
	}
}

func badArchive(err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err // of who sends it
	}
	return fault.New("make the archive anew: tar -c . | builder bud -", "the build context's archive can't be read: %w", err)
}

func entryError(name string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) {
		return badArchive(err)
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		err = link.Err
	}
	return fault.New("leave it out of the archive", "the build context's archive: %q: %w", name, err)
}

// unpacker is the state of one unpack.
type unpacker struct {
	ctx  context.Context
	root *os.Root
	tar  *tar.Reader
	// dirs are given their modes and times at the end: until then they have to
	// take files.
	dirs map[string]*tar.Header
}

// Read gives the content of the current entry, and ends with the context: a few
// bytes of tar can stand for a sparse file of any size.
func (u *unpacker) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.tar.Read(p)
}

func (u *unpacker) entry(h *tar.Header) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := insideName(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name, h)
	case tar.TypeChar, tar.TypeBlock:
		return fault.New("leave it out of the archive", "the build context's archive holds the device file %s", h.Name)
	}
	if name == "." {
		return errors.New("the root of a build context is a directory")
	}
	if err := u.clear(name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, '\x00':
		return u.file(name, h)
	case tar.TypeSymlink:
		return errors.Join(u.root.Symlink(h.Linkname, name), u.setTime(name, h))
	case tar.TypeLink:
		target, err := insideName(h.Linkname)
		if err != nil {
			return fmt.Errorf("its target %q: %w", h.Linkname, err)
		}
		return u.root.Link(target, name)
	case tar.TypeFifo:
		return u.inParent(name, func(dir int, base string) error {
			return errors.Join(unix.Mkfifoat(dir, base, 0o600), unix.Fchmodat(dir, base, permissions(h), 0))
		})
	}
	return fmt.Errorf("an entry of the unknown type %q", h.Typeflag)
}

// insideName is a name relative to the context's root. A leading slash is taken
// off, as tar does.
func insideName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errors.New("the name leads out of the build context")
	}
	return clean, nil
}

func permissions(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 }

// clear makes room for an entry: a later one replaces an earlier one.
func (u *unpacker) clear(name string) error {
	if err := u.implied(path.Dir(name)); err != nil {
		return err
	}
	if _, err := u.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := u.root.RemoveAll(name)
	for known := range u.dirs {
		if known == name || strings.HasPrefix(known, name+"/") {
			delete(u.dirs, known)
		}
	}
	return err
}

// implied makes the directories that no entry has described so far. Their mode
// is the same whatever the caller's umask.
func (u *unpacker) implied(dir string) error {
	if _, err := u.root.Stat(dir); err == nil {
		return nil
	}
	for at := dir; at != "."; at = path.Dir(at) {
		if _, known := u.dirs[at]; !known {
			u.dirs[at] = &tar.Header{Mode: 0o755, ModTime: time.Unix(0, 0)}
		}
	}
	return u.root.MkdirAll(dir, 0o755)
}

func (u *unpacker) dir(name string, h *tar.Header) error {
	st, err := u.root.Lstat(name)
	if err == nil && !st.IsDir() {
		err = u.clear(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := u.implied(path.Dir(name)); err != nil {
		return err
	}
	u.dirs[name] = h
	return u.root.MkdirAll(name, 0o755)
}

func (u *unpacker) file(name string, h *tar.Header) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, u)
	if err == nil {
		err = unix.Fchmod(int(f.Fd()), permissions(h))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.setTime(name, h)
}

// finishDirs sets what adding files would have been hindered by, or undone. The
// deepest directories come first.
func (u *unpacker) finishDirs() error {
	names := make([]string, 0, len(u.dirs))
	for name := range u.dirs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if err := u.finishDir(name, u.dirs[name]); err != nil {
			return entryError(name, err)
		}
	}
	return nil
}

func (u *unpacker) finishDir(name string, h *tar.Header) error {
	if name == "." {
		return nil // its mode and time stand in no image; that it can be read counts
	}
	d, err := u.openDir(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil // replaced since, under another name that a link gives it
	}
	if err != nil {
		return err
	}
	err = errors.Join(unix.Fchmod(int(d.Fd()), permissions(h)), d.Close())
	return errors.Join(err, u.setTime(name, h))
}

// openDir opens a directory, and nothing that could keep it waiting.
func (u *unpacker) openDir(name string) (*os.File, error) {
	return u.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
}

// setTime gives an entry, and not what it may link to, its time.
func (u *unpacker) setTime(name string, h *tar.Header) error {
	return u.inParent(name, func(dir int, base string) error {
		at := []unix.Timespec{timespec(h.ModTime), timespec(h.ModTime)}
		return unix.UtimesNanoAt(dir, base, at, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func timespec(t time.Time) unix.Timespec {
	if t.Unix() < 0 {
		t = time.Unix(0, 0)
	}
	return unix.NsecToTimespec(t.UnixNano())
}

// inParent calls fn with the directory that a name stands in.
func (u *unpacker) inParent(name string, fn func(dir int, base string) error) error {
	parent, err := u.openDir(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	return fn(int(parent.Fd()), filepath.Base(name))
}
