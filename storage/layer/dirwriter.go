package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// DirWriter writes entries into an upper directory over a parent's tree, or
// into a full copy of that (flavor VFS), as if they had been written into a
// mount of both. Directories on the way to an entry are those of the parent,
// with mode, owner, attributes and time, so that they don't stand in the layer
// themselves; where the parent has none they are made 0755 root:root. A
// DirWriter isn't for several goroutines.
type DirWriter struct {
	s      *sink
	dir    string
	parent *Tree
	o      DirOptions
	err    error
}

// NewDirWriter begins to write into dir, which exists.
func NewDirWriter(dir string, parent *Tree, o DirOptions) *DirWriter {
	return &DirWriter{dir: dir, parent: parent, o: o}
}

// Write adds an entry. A directory is merged with one that exists and gives it
// its own mode, owner, attributes and time; everything else replaces what was
// there. A whiteout removes. The Linkname of a hard link must exist; to a file
// that only the parent has, the link becomes a copy. Parents must not be links:
// [Tree.Resolve] tells where those lead.
func (w *DirWriter) Write(e *Entry) error {
	if err := w.begin(); err != nil {
		return err
	}
	path := clean(e.Path)
	var err error
	switch {
	case e.Whiteout:
		err = w.remove(path)
	case path == "":
		err = w.s.setLate("", e)
	default:
		err = w.write(path, e)
	}
	return pathError("write", path, err)
}

// Remove deletes a name with all beneath it. One that doesn't exist is no
// error.
func (w *DirWriter) Remove(path string) error {
	if err := w.begin(); err != nil {
		return err
	}
	path = clean(path)
	return pathError("remove", path, w.remove(path))
}

// Standing tells what stands at a path now: its type and, of a link, where it
// leads; zero for nothing. Parents must not be links.
func (w *DirWriter) Standing(path string) (kind byte, linkname string, err error) {
	if err := w.begin(); err != nil {
		return 0, "", err
	}
	path = clean(path)
	kind, linkname, err = w.standing(path)
	return kind, linkname, pathError("lstat", path, err)
}

func (w *DirWriter) standing(path string) (kind byte, linkname string, err error) {
	dir, base := split(path)
	fd, err := w.s.open(dir)
	var st unix.Stat_t
	if err == nil && path != "" {
		err = lstatAt(fd, base, &st)
	}
	switch {
	case path == "":
		return TypeDir, "", err
	case err == unix.ENOTDIR, err == unix.ELOOP:
		return 0, "", nil // the directory was replaced, or deleted
	case err == unix.ENOENT:
		old, err := w.below(path)
		if err != nil || old == nil {
			return 0, "", err
		}
		return old.Type, old.Linkname, nil
	case err != nil || hidesLower(&st):
		return 0, "", err
	}
	if kind = typeOf(st.Mode); kind == TypeSymlink {
		linkname, err = readlinkAt(fd, base)
	}
	return kind, linkname, err
}

// Close gives the directories their modes, owners and times, and frees what
// the writer holds. Without it the directory is unfit for use.
func (w *DirWriter) Close() error {
	if w.s == nil {
		return w.err
	}
	err := w.s.finish()
	w.s.close()
	w.s = nil
	return err
}

func (w *DirWriter) begin() error {
	if w.s == nil && w.err == nil {
		w.s, w.err = newSink(w.dir, w.o)
	}
	if w.err == nil {
		w.err = w.s.trim()
	}
	return w.err
}

func (w *DirWriter) write(path string, e *Entry) error {
	if hasReserved(path) {
		return reservedName(path)
	}
	dir, _ := split(path)
	if _, err := w.ensure(dir); err != nil {
		return err
	}
	switch e.Type {
	case TypeDir:
		return w.writeDir(path, e)
	case TypeLink:
		return w.link(path, clean(e.Linkname))
	}
	return w.s.put(path, e)
}

func (w *DirWriter) writeDir(path string, e *Entry) error {
	made, err := w.s.mkdir(path)
	if err != nil {
		return err
	}
	if made {
		// Nothing is below where it is opaque already.
		old, err := w.below(path)
		if err != nil {
			return err
		}
		if old != nil && old.Type != TypeDir {
			if err := w.s.setOpaque(path); err != nil {
				return err
			}
		}
	}
	return w.s.setLate(path, e)
}

func (w *DirWriter) link(path, target string) error {
	if path == target {
		return nil
	}
	if within(target, path) {
		return fmt.Errorf("hard link to /%s, which lies within what it replaces", target)
	}
	dir, base := split(path)
	fd, err := w.s.open(dir)
	if err != nil {
		return err
	}
	targetDir, targetBase := split(target)
	from, err := w.s.open(targetDir)
	if err == nil {
		err = unix.Linkat(from, targetBase, fd, base, 0)
		if err == unix.EEXIST {
			if err = w.s.clear(path); err == nil {
				err = unix.Linkat(from, targetBase, fd, base, 0)
			}
		}
	}
	if err == nil {
		return w.s.linkOwner(path, target)
	}
	if err != unix.ENOENT {
		return err
	}
	old, err := w.below(target)
	if err != nil {
		return err
	}
	if old == nil || old.Type == TypeDir {
		return fs.ErrNotExist
	}
	return w.s.put(path, &old.Entry)
}

// remove takes a name away here, and hides it where the parent has it.
func (w *DirWriter) remove(path string) error {
	old, err := w.below(path)
	if err != nil {
		return err
	}
	dir, _ := split(path)
	if old != nil && w.o.Flavor != VFS {
		if _, err := w.ensure(dir); err != nil {
			return err
		}
		if err := w.s.clear(path); err != nil {
			return err
		}
		return w.s.whiteout(path)
	}
	_, err = w.s.open(dir)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.s.clear(path)
}

// below is what the parent shows at path, or nil. It is nil where the upper
// directory hides the parent, and in a full copy, over which nothing shows.
func (w *DirWriter) below(path string) (*Node, error) {
	if w.o.Flavor == VFS {
		return nil, nil
	}
	if hidden, err := w.s.hides(path); err != nil || hidden {
		return nil, err
	}
	n, err := w.parent.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return n, err
}

// ensure opens a directory that an entry goes into, and makes it where it has
// to be.
func (w *DirWriter) ensure(path string) (int, error) {
	if fd, ok := w.s.fds[path]; ok || path == "" {
		if path == "" {
			fd = w.s.root
		}
		return fd, nil
	}
	dir, base := split(path)
	above, err := w.ensure(dir)
	if err != nil {
		return -1, err
	}
	fd, err := openDir(above, base)
	switch err {
	case nil:
		w.s.fds[path] = fd
		return fd, w.s.keepTime(path, fd)
	case unix.ENOENT:
		return w.copyUp(path)
	case unix.ENOTDIR, unix.ELOOP:
		return w.overWhiteout(path, above, base)
	}
	return -1, err
}

// copyUp makes a directory that the upper directory lacks, like the parent's.
func (w *DirWriter) copyUp(path string) (int, error) {
	old, err := w.below(path)
	if err != nil {
		return -1, err
	}
	if old != nil && old.Type != TypeDir {
		return -1, unix.ENOTDIR
	}
	if _, err := w.s.mkdir(path); err != nil {
		return -1, err
	}
	late := w.newDir(path)
	if old != nil {
		late = &old.Entry
	}
	if err := w.s.setLate(path, late); err != nil {
		return -1, err
	}
	return w.s.open(path)
}

// overWhiteout makes a directory whose name was deleted before.
func (w *DirWriter) overWhiteout(path string, above int, base string) (int, error) {
	var st unix.Stat_t
	if err := lstatAt(above, base, &st); err != nil {
		return -1, err
	}
	if !hidesLower(&st) || w.o.Flavor == VFS {
		return -1, unix.ENOTDIR
	}
	if _, err := w.s.mkdir(path); err != nil {
		return -1, err
	}
	if err := w.s.setLate(path, w.newDir(path)); err != nil {
		return -1, err
	}
	return w.s.open(path)
}

func (w *DirWriter) newDir(path string) *Entry { return impliedDir(path, w.o.Time) }

// impliedDir is a directory that nothing describes.
func impliedDir(path string, t time.Time) *Entry {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return &Entry{Path: path, Type: TypeDir, Mode: 0o755, ModTime: t}
}

// InitRoot gives an upper directory's root the mode, owner, attributes and
// time of the parent's root, as the root of a new, empty layer has them.
func InitRoot(dir string, parent *Tree, o DirOptions) error {
	n, err := parent.Lstat("")
	if err != nil {
		return err
	}
	s, err := newSink(dir, o)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.setLate("", &n.Entry); err != nil {
		return err
	}
	return s.finish()
}
