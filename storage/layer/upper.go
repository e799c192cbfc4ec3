package layer

import (
	"context"
	"io"
	"maps"

	"github.com/builder-oci/builder/internal/spool"
	"golang.org/x/sys/unix"
)

// UpperOptions tell [Upper] how the directory came to be.
type UpperOptions struct {
	// Flavor is the driver that wrote the directory.
	Flavor Flavor
	// ExactOwners says that files bear their true owners. Without it the
	// owners are told by attributes and by Owners.
	ExactOwners bool
	Owners      *Owners
	// Unprivileged says the same as in [DirOptions].
	Unprivileged bool
	// Placeholders are paths at which a sandbox mounts something. What is new there,
	// and empty, was made for that and doesn't stand in the layer, nor do directories
	// that were made to lead there.
	Placeholders []string
	// Look has the Walk tell a user what was changed in a tree that may be in use:
	// sockets too, and names that go meanwhile are passed over.
	Look bool
	// Temp is a directory for what takes more room than memory should have: ""
	// for the system's.
	Temp string
}

// Upper is what stands in the layer whose upper directory is dir and whose
// parent is parent. The directory must not change during a Walk, at whose end
// parent is closed: it stays usable, as [Tree.Close] says.
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
	TimeRule
}

func (c *changes) timed(r TimeRule) Source {
	copied := *c
	copied.TimeRule = r
	return &copied
}

func (c *changes) Walk(ctx context.Context, fn func(*Entry) error) error {
	w := &walker{
		changes: c, ctx: ctx, fn: fn,
		links: newFirstNames(c.o.Temp), places: placesOf(c.o.Placeholders),
	}
	defer w.links.close()
	var err error
	if w.noted, err = c.base.open(); err != nil {
		return err
	}
	defer w.noted.close()
	fd, err := openat(unix.AT_FDCWD, c.dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", c.dir, err)
	}
	defer closeFD(fd)
	// Packing is often the last that is done with a parent, and nobody else
	// knows when it ends.
	defer func() { _ = c.parent.Close() }()
	return w.root(fd)
}

// walker is one Walk of changes.
type walker struct {
	*changes
	ctx   context.Context
	fn    func(*Entry) error
	noted *baseReader // what base has
	// links has, by device and inode, the first name that stood in the layer of each
	// file that has several.
	links *firstNames
	// implied are the directories from the root to here that haven't changed
	// and weren't given to fn yet.
	implied []*Entry
	places  map[string]bool // where placeholders may be
	buf     []byte
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
	if err := w.adopt(&e, x); err != nil {
		return err
	}
	old, err := w.parent.Lstat("")
	if err != nil {
		return err
	}
	e.keepTime(old)
	if !sameMeta(&e, &old.Entry) {
		if err := w.fn(&e); err != nil {
			return err
		}
	}
	d := &dir{fd: fd, Entry: &e, below: &lower{tree: w.parent}, whole: w.base != nil}
	defer d.below.close()
	if err := w.list(d); err != nil {
		return err
	}
	return w.walk(d)
}

// walk visits the names of a directory and those that are gone, in one order.
func (w *walker) walk(d *dir) error {
	d.names.Add(maps.Keys(d.deleted))
	for n := range d.names.all() {
		path := join(d.Path, n.name)
		var err error
		if d.deleted[n.name] {
			err = w.whiteout(path, n.name, d.below)
		} else {
			err = w.name(d, n.name, path)
		}
		if err != nil && !w.vanished(err) {
			return pathError("pack", path, err)
		}
	}
	return nil
}

// name decides about one name of the directory.
func (w *walker) name(d *dir, name, path string) error {
	var st unix.Stat_t
	if err := lstatAt(d.fd, name, &st); err != nil {
		return err
	}
	e := entryOf(path, &st)
	if e.Type == 0 && w.o.Look {
		var err error
		if e.Below, err = d.below.has(name); err != nil {
			return err
		}
		return w.emit(&e)
	}
	if isWhiteout(&st) || e.Type == 0 {
		return w.whiteout(path, name, d.below)
	}
	if e.Type == TypeDir {
		return w.enter(d, name, &e, &st)
	}
	if w.noted.has(path, &st) {
		return nil
	}
	if err := w.complete(d.fd, name, &e, d.below); err != nil {
		return err
	}
	same, err := w.unchanged(d.fd, name, &e, d.below)
	if err != nil || same {
		return err
	}
	if e.Type == TypeReg && st.Nlink > 1 {
		first, err := w.links.of(spool.NumberKey(st.Dev, st.Ino), path)
		if err != nil {
			return err
		}
		if first != path {
			e.Type, e.Linkname, e.Size, e.Xattrs = TypeLink, first, 0, nil
		}
	}
	if e.Type == TypeReg {
		e.Open = func() (io.ReadCloser, error) {
			content, err := openat(d.fd, name, openFileFlags, 0)
			if st.Blocks*512 < st.Size {
				return &sparseFile{rawFile: rawFile{content}, size: st.Size}, err
			}
			return rawFile{content}, err
		}
	}
	return w.emit(&e)
}

// enter decides about a directory and goes into it.
func (w *walker) enter(above *dir, name string, e *Entry, st *unix.Stat_t) error {
	fd, err := openDir(above.fd, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	x, err := xattrsOfFD(fd)
	if err != nil {
		return err
	}
	e.Xattrs = x.kept
	if err := w.adopt(e, x); err != nil {
		return err
	}
	d := &dir{fd: fd, Entry: e, below: above.below.child(name)}
	defer d.below.close()
	same := w.noted.has(e.Path, st)
	e.Below = same
	if w.base != nil {
		d.whole = !same
	} else {
		// The kernel marks only the uppermost of the directories that hide
		// what lies below.
		d.whole = above.whole || x.opaque
	}
	if err := w.list(d); err != nil {
		return err
	}
	if !same {
		if same, err = w.sameDir(d, name, above.below, st); err != nil {
			return err
		}
	}
	if same {
		e.Implied = true
		w.implied = append(w.implied, e)
	} else if err := w.emit(e); err != nil {
		return err
	}
	err = w.walk(d)
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
	return w.emit(&Entry{Path: path, Whiteout: true, Below: true})
}
