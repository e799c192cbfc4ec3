package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// UpperOptions tell [Upper] how the directory came to be.
type UpperOptions struct {
	// Flavor is the driver that wrote the directory.
	Flavor Flavor
	// Ignore are paths that don't count, with all beneath them.
	Ignore []string
	// ExactOwners says that files bear their true owners. Without it the
	// owners are told by attributes and by Owners.
	ExactOwners bool
	Owners      Owners
}

// Upper is what stands in the layer whose upper directory is dir and whose
// parent is parent. The directory must not change during a Walk.
func Upper(dir string, parent *Tree, o UpperOptions) Source {
	return &changes{dir: dir, parent: parent, o: o}
}

// changes finds what stands in a layer: dir is an upper directory or, with a
// base, a changed copy of the parent's whole tree.
type changes struct {
	dir    string
	parent *Tree
	o      UpperOptions
	base   *Base
}

func (c *changes) Walk(ctx context.Context, fn func(*Entry) error) error {
	w := &walker{
		changes: c, ctx: ctx, fn: fn,
		ignore: make(map[string]bool, len(c.o.Ignore)),
		links:  map[uint64]string{},
	}
	for _, p := range c.o.Ignore {
		w.ignore[clean(p)] = true
	}
	fd, err := openat(unix.AT_FDCWD, c.dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", c.dir, err)
	}
	defer closeFD(fd)
	return w.root(fd)
}

// walker is one Walk of changes.
type walker struct {
	*changes
	ctx    context.Context
	fn     func(*Entry) error
	ignore map[string]bool
	// links has, by inode, the first name that stood in the layer of each
	// file that has several.
	links map[uint64]string
	// implied are the directories from the root to here that haven't changed
	// and weren't given to fn yet.
	implied []*Entry
}

func (w *walker) root(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("lstat", "", err)
	}
	x, err := xattrsOfFD(fd)
	if err != nil {
		return pathError("lstat", "", err)
	}
	e := entryOf("", &st)
	e.Xattrs = x.kept
	w.adopt(&e, x)
	below := &lower{tree: w.parent}
	old, err := w.parent.Lstat("")
	if err != nil {
		return err
	}
	e.ModTime = old.ModTime
	if !sameMeta(&e, &old.Entry) {
		if err := w.fn(&e); err != nil {
			return err
		}
	}
	return w.walk(fd, &e, below, w.base != nil)
}

// walk goes through one directory. With whole its names are all that the new
// tree has there; without, they lie over those below.
func (w *walker) walk(fd int, dir *Entry, below *lower, whole bool) error {
	defer below.close()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	list, err := readNames(fd)
	if err != nil {
		return pathError("readdir", dir.Path, err)
	}
	deleted, err := w.markers(fd, dir.Path, &list, &whole)
	if err != nil {
		return err
	}
	if whole {
		if err := below.missing(list, deleted); err != nil {
			return pathError("readdir", dir.Path, err)
		}
	}
	return w.names(fd, dir, below, list, deleted)
}

// names visits the names of a directory and the deleted ones, in one order.
func (w *walker) names(fd int, dir *Entry, below *lower, list []dirent, deleted map[string]bool) error {
	for name := range deleted {
		list = append(list, dirent{name: name})
	}
	if len(deleted) > 0 {
		slices.SortFunc(list, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	}
	for _, d := range list {
		path := join(dir.Path, d.name)
		if w.ignore[path] {
			continue
		}
		var err error
		if deleted[d.name] {
			err = w.whiteout(path, d.name, below)
		} else {
			err = w.name(fd, d, path, below)
		}
		if err != nil {
			return pathError("pack", path, err)
		}
	}
	return nil
}

// markers takes the names that storage drivers keep for themselves out of
// list. It gives the names that they delete.
func (w *walker) markers(fd int, path string, list *[]dirent, whole *bool) (map[string]bool, error) {
	deleted := map[string]bool{}
	var bad error
	*list = slices.DeleteFunc(*list, func(d dirent) bool {
		name, ok := strings.CutPrefix(d.name, whPrefix)
		if !ok {
			return false
		}
		switch {
		case w.o.Flavor != Fuse:
			bad = reservedName(join(path, d.name))
		case d.name == whOpaque || d.name == whFuseOpaque:
			*whole = true
		default:
			deleted[name] = true
		}
		return true
	})
	for _, d := range *list {
		delete(deleted, d.name)
	}
	return deleted, bad
}

func reservedName(path string) error {
	return fault.New("rename the file, or remove it in the same RUN",
		"/%s can't be in an image: names that begin with %q mean deleted files in a layer", path, whPrefix)
}

// name decides about one name of the directory.
func (w *walker) name(fd int, d dirent, path string, below *lower) error {
	var st unix.Stat_t
	if err := lstatAt(fd, d.name, &st); err != nil {
		return err
	}
	e := entryOf(path, &st)
	if isWhiteout(&st) || e.Type == 0 {
		return w.whiteout(path, d.name, below)
	}
	if e.Type == TypeDir {
		return w.enter(fd, d.name, &e, &st, below)
	}
	if w.base.has(path, &st) {
		return nil
	}
	if err := w.complete(fd, d.name, &e, below); err != nil {
		return err
	}
	same, err := w.unchanged(fd, d.name, &e, below)
	if err != nil || same {
		return err
	}
	if e.Type == TypeReg && st.Nlink > 1 {
		if first, ok := w.links[st.Ino]; ok {
			e.Type, e.Linkname, e.Size, e.Xattrs = TypeLink, first, 0, nil
		} else {
			w.links[st.Ino] = path
		}
	}
	if e.Type == TypeReg {
		e.Open = func() (io.ReadCloser, error) {
			content, err := openat(fd, d.name, openFileFlags, 0)
			return rawFile{content}, err
		}
	}
	return w.emit(&e)
}

// enter decides about a directory and goes into it.
func (w *walker) enter(dirfd int, name string, e *Entry, st *unix.Stat_t, below *lower) error {
	fd, err := openDir(dirfd, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	x, err := xattrsOfFD(fd)
	if err != nil {
		return err
	}
	e.Xattrs = x.kept
	w.adopt(e, x)
	same := w.base.has(e.Path, st)
	whole := w.base != nil && !same || x.opaque
	if !same {
		old, err := below.node(name, e.Path)
		if err != nil {
			return err
		}
		same = old != nil && sameEntry(e, &old.Entry)
	}
	if same {
		e.Implied = true
		w.implied = append(w.implied, e)
	} else if err := w.emit(e); err != nil {
		return err
	}
	err = w.walk(fd, e, below.child(name), whole)
	if n := len(w.implied); n > 0 && w.implied[n-1] == e {
		w.implied = w.implied[:n-1]
	}
	return err
}

// emit gives an entry to fn, and before it the directories that it is in.
func (w *walker) emit(e *Entry) error {
	for _, dir := range w.implied {
		if err := w.fn(dir); err != nil {
			return err
		}
	}
	w.implied = w.implied[:0]
	return w.fn(e)
}

// whiteout says that a name is gone, if it was there.
func (w *walker) whiteout(path, name string, below *lower) error {
	was, err := below.has(name)
	if err != nil || !was {
		return err
	}
	return w.emit(&Entry{Path: path, Whiteout: true})
}

// complete adds to e what stat doesn't tell.
func (w *walker) complete(fd int, name string, e *Entry, below *lower) error {
	if e.Type == TypeSymlink {
		var err error
		if e.Linkname, err = readlinkAt(fd, name); err != nil {
			return err
		}
	}
	x, err := xattrsAt(fd, name)
	if err != nil {
		return err
	}
	e.Xattrs = x.kept
	w.adopt(e, x)
	if w.o.ExactOwners || e.Type == TypeReg {
		return nil
	}
	if _, ok := w.o.Owners[e.Path]; ok {
		return nil
	}
	// A link or special file that a driver copied up has left its owner in
	// the record of the layer below.
	old, err := below.node(name, e.Path)
	if err == nil && old != nil && old.Type == e.Type && old.Linkname == e.Linkname {
		e.UID, e.GID = old.UID, old.GID
	}
	return err
}

// adopt gives e its owner in single-id mode.
func (w *walker) adopt(e *Entry, x xattrs) {
	if w.o.ExactOwners {
		return
	}
	if o, ok := parseOverride(x.override); ok {
		e.UID, e.GID = o.UID, o.GID
	} else if o, ok := w.o.Owners[e.Path]; ok && e.Type != TypeReg && e.Type != TypeDir {
		e.UID, e.GID = o.UID, o.GID
	}
}

// unchanged tells whether a file, link or special file is as it was below.
func (w *walker) unchanged(fd int, name string, e *Entry, below *lower) (bool, error) {
	old, err := below.node(name, e.Path)
	if err != nil || old == nil || !sameEntry(e, &old.Entry) {
		return false, err
	}
	if e.Type != TypeReg || e.Size == 0 {
		return true, nil
	}
	// The same size and time prove nothing: a file can be copied up and
	// changed within one second.
	now, err := openat(fd, name, openFileFlags, 0)
	if err != nil {
		return false, err
	}
	defer closeFD(now)
	before, err := below.openFile(name)
	if err != nil {
		return false, err
	}
	defer closeFD(before)
	return sameContent(rawFile{now}, rawFile{before})
}

// sameEntry compares all but content.
func sameEntry(a, b *Entry) bool {
	return sameMeta(a, b) && a.ModTime.Unix() == b.ModTime.Unix()
}

func sameMeta(a, b *Entry) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Size == b.Size && a.Linkname == b.Linkname &&
		a.Devmajor == b.Devmajor && a.Devminor == b.Devminor && sameXattrs(a.Xattrs, b.Xattrs)
}

func sameContent(a, b io.Reader) (bool, error) {
	var bufs [2][64 << 10]byte
	for {
		n, errA := io.ReadFull(a, bufs[0][:])
		m, errB := io.ReadFull(b, bufs[1][:])
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, fmt.Errorf("comparing: %w", err)
			}
		}
		if n != m || string(bufs[0][:n]) != string(bufs[1][:m]) {
			return false, nil
		}
		if errA != nil {
			return true, nil
		}
	}
}

// lower is the parent's directory beneath one that is walked, opened when it
// is first asked about.
type lower struct {
	tree   *Tree
	above  *lower
	name   string
	view   *view
	opened bool
}

func (l *lower) child(name string) *lower { return &lower{tree: l.tree, above: l, name: name} }

// open gives nil where the parent has no such directory.
func (l *lower) open() (*view, error) {
	if l.opened {
		return l.view, nil
	}
	l.opened = true
	var err error
	if l.above == nil {
		l.view, err = l.tree.openRoot()
		return l.view, err
	}
	above, err := l.above.open()
	if err != nil || above == nil {
		return nil, err
	}
	l.view, err = above.child(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return l.view, err
}

func (l *lower) has(name string) (bool, error) {
	m, err := l.open()
	if err != nil || m == nil {
		return false, err
	}
	_, ok := m.names[name]
	return ok, nil
}

// node gives nil where the parent has no such name.
func (l *lower) node(name, path string) (*Node, error) {
	m, err := l.open()
	if err != nil || m == nil {
		return nil, err
	}
	n, err := l.tree.node(m, name, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return n, err
}

func (l *lower) openFile(name string) (int, error) {
	m, err := l.open()
	if err != nil {
		return -1, err
	}
	return m.openFile(name)
}

// missing adds the names that the parent has and list hasn't to deleted.
func (l *lower) missing(list []dirent, deleted map[string]bool) error {
	m, err := l.open()
	if err != nil || m == nil {
		return err
	}
	have := make(map[string]bool, len(list))
	for _, d := range list {
		have[d.name] = true
	}
	for name := range m.names {
		if !have[name] {
			deleted[name] = true
		}
	}
	return nil
}

func (l *lower) close() {
	if l.view != nil {
		l.view.close()
	}
}
