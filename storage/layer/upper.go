package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

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
	w.adopt(&e, x)
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

// dir is a directory on the way.
type dir struct {
	*Entry
	fd    int
	below *lower
	// whole says that the directory's names are all that the new tree has
	// there. Otherwise they lie over those below.
	whole   bool
	names   []dirent
	deleted map[string]bool // whiteouts aside, names that are below and gone
	moved   bool            // names came or went
}

// list reads a directory's names, and finds out which of those below are gone.
func (w *walker) list(d *dir) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	var err error
	if d.names, err = readNames(d.fd); err != nil {
		return pathError("readdir", d.Path, err)
	}
	if err := w.markers(d); err != nil {
		return err
	}
	if d.whole {
		if err := d.below.missing(d.names, d.deleted); err != nil {
			return pathError("readdir", d.Path, err)
		}
	}
	return pathError("readdir", d.Path, w.compareNames(d))
}

// markers takes the names that storage drivers keep for themselves out of a
// directory's.
func (w *walker) markers(d *dir) error {
	d.deleted = map[string]bool{}
	var bad error
	d.names = slices.DeleteFunc(d.names, func(n dirent) bool {
		name, ok := strings.CutPrefix(n.name, whPrefix)
		if !ok {
			return false
		}
		switch {
		case w.o.Flavor != Fuse:
			bad = reservedName(join(d.Path, n.name))
		case n.name == whOpaque || n.name == whFuseOpaque:
			d.whole = true
		default:
			d.deleted[name] = true
		}
		return true
	})
	for _, n := range d.names {
		delete(d.deleted, n.name)
	}
	return bad
}

// compareNames finds out whether a directory has other names than below.
func (w *walker) compareNames(d *dir) error {
	if w.base != nil && !d.whole {
		return nil
	}
	m, err := d.below.open()
	if err != nil {
		return err
	}
	for _, n := range d.names {
		absent, err := isAbsent(d.fd, n)
		if err != nil {
			return err
		}
		was := false
		if m != nil {
			_, was = m.names[n.name]
		}
		if was == absent && !w.ignore[join(d.Path, n.name)] {
			d.moved = true
			return nil
		}
	}
	for name := range d.deleted {
		if was, err := d.below.has(name); err != nil || was && !w.ignore[join(d.Path, name)] {
			d.moved = true
			return err
		}
	}
	return nil
}

func reservedName(path string) error {
	return fault.New("rename the file, or remove it in the same RUN",
		"/%s can't be in an image: names that begin with %q mean deleted files in a layer", path, whPrefix)
}

// walk visits the names of a directory and those that are gone, in one order.
func (w *walker) walk(d *dir) error {
	for name := range d.deleted {
		d.names = append(d.names, dirent{name: name})
	}
	if len(d.deleted) > 0 {
		slices.SortFunc(d.names, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	}
	for _, n := range d.names {
		path := join(d.Path, n.name)
		if w.ignore[path] {
			continue
		}
		var err error
		if d.deleted[n.name] {
			err = w.whiteout(path, n.name, d.below)
		} else {
			err = w.name(d, n.name, path)
		}
		if err != nil {
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
	if isWhiteout(&st) || e.Type == 0 {
		return w.whiteout(path, name, d.below)
	}
	if e.Type == TypeDir {
		return w.enter(d, name, &e, &st)
	}
	if w.base.has(path, &st) {
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
		if first, ok := w.links[st.Ino]; ok {
			e.Type, e.Linkname, e.Size, e.Xattrs = TypeLink, first, 0, nil
		} else {
			w.links[st.Ino] = path
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
	w.adopt(e, x)
	d := &dir{fd: fd, Entry: e, below: above.below.child(name)}
	defer d.below.close()
	same := w.base.has(e.Path, st)
	d.whole = w.base != nil && !same || x.opaque
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

// sameDir tells whether a directory is itself as it was below. Its time counts
// where names in it came or went, and where it was set on purpose. Otherwise
// it is the old one: fuse-overlayfs moves it whenever it copies a file up,
// the kernel doesn't, and nobody can tell afterwards.
func (w *walker) sameDir(d *dir, name string, above *lower, st *unix.Stat_t) (bool, error) {
	old, err := above.node(name, d.Path)
	if err != nil || old == nil || old.Type != TypeDir {
		return false, err
	}
	if !d.moved {
		set, err := timeWasSet(d.fd, st)
		if err != nil {
			return false, err
		}
		if !set {
			d.keepTime(old)
		}
	}
	return w.sameEntry(d.Entry, old), nil
}

// timeWasSet tells whether a directory's time was given to it, rather than
// moved by what happened in it since the directory was made here.
func timeWasSet(fd int, st *unix.Stat_t) (bool, error) {
	var x unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &x)
	if err != nil || x.Mask&unix.STATX_BTIME == 0 {
		return false, err
	}
	mtime := time.Unix(st.Mtim.Unix())
	return mtime.Before(time.Unix(x.Btime.Sec, int64(x.Btime.Nsec))) || mtime.After(time.Unix(st.Ctim.Unix())), nil
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
	} else if o, ok := w.o.Owners[e.Path]; ok && bySideRecord(e) {
		e.UID, e.GID = o.UID, o.GID
	}
}

// unchanged tells whether a file, link or special file is as it was below.
func (w *walker) unchanged(fd int, name string, e *Entry, below *lower) (bool, error) {
	old, err := below.node(name, e.Path)
	if err != nil || old == nil || !w.sameEntry(e, old) {
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
	if w.buf == nil {
		w.buf = make([]byte, compareBuffer)
	}
	return sameContent(rawFile{now}, rawFile{before}, w.buf)
}

// sameEntry compares all but content. Of two times only what the tar would show
// of them counts: whether a RUN came in the same second as the one before must
// not decide what stands in a layer whose times are clamped.
func (r TimeRule) sameEntry(e *Entry, old *Node) bool {
	e.timeKept = e.ModTime.Unix() == old.ModTime.Unix()
	return sameMeta(e, &old.Entry) && (e.timeKept || r.of(e.ModTime) == r.of(old.ModTime))
}

// keepTime gives e the time that it had below.
func (e *Entry) keepTime(old *Node) { e.ModTime, e.timeKept = old.ModTime, true }

func sameMeta(a, b *Entry) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Size == b.Size && a.Linkname == b.Linkname &&
		a.Devmajor == b.Devmajor && a.Devminor == b.Devminor && sameXattrs(a.Xattrs, b.Xattrs)
}

// compareBuffer is what [sameContent] needs.
const compareBuffer = 128 << 10

func sameContent(a, b io.Reader, buf []byte) (bool, error) {
	bufA, bufB := buf[:len(buf)/2], buf[len(buf)/2:]
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, fmt.Errorf("comparing: %w", err)
			}
		}
		if !bytes.Equal(bufA[:n], bufB[:m]) {
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
