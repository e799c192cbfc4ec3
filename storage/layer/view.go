package layer

import (
	"container/list"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/dirnames"
)

const (
	whPrefix = ".wh."
	// whOpaque is how a tar, and fuse-overlayfs too, says that a directory
	// hides what lies below it.
	whOpaque = ".wh..wh..opq"
	// whFuseOpaque is a character device 0:0 that fuse-overlayfs leaves
	// beside whOpaque.
	whFuseOpaque = ".wh..opq"
)

// view is one directory of a tree: the directories of that path in those
// layers that still show through, with the names that are seen.
type view struct {
	parts []part
	fds   *fdCount
}

// part is a view's directory in one layer.
type part struct {
	fd    int
	layer int
	shown dirents // the names that are seen in it
	// hides has the names that files called .wh.NAME delete from the layers
	// below, as fuse-overlayfs writes them where it may not make devices.
	hides map[string]bool
}

// open opens the view's top directories, one of each layer.
func (t *Tree) openRoot() (*view, error) {
	m := &view{fds: t.fds}
	gone := map[string]bool{}
	for i, dir := range t.dirs {
		last, err := m.add(unix.AT_FDCWD, dir, i, gone)
		if err != nil {
			m.close()
			return nil, err
		}
		if last {
			break
		}
	}
	return m, nil
}

// child opens the view of a directory in m, or gives fs.ErrNotExist where name
// is none.
func (m *view) child(name string) (*view, error) {
	top, ok := m.place(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	c := &view{fds: m.fds}
	gone := map[string]bool{}
	for i := top; i < len(m.parts); i++ {
		p := m.parts[i]
		last, err := c.add(p.fd, name, p.layer, gone)
		switch {
		case err == unix.ENOTDIR || err == unix.ELOOP:
			last = true
		case err == unix.ENOENT:
		case err != nil:
			c.close()
			return nil, err
		}
		if last || p.hides[name] {
			break
		}
	}
	if len(c.parts) == 0 {
		return nil, fs.ErrNotExist
	}
	return c, nil
}

// add puts the directory name of one more layer beneath the view. It says
// whether that is the last to be seen. Names in gone are hidden from it; what
// it hides itself is added there.
func (m *view) add(dirfd int, name string, layer int, gone map[string]bool) (last bool, err error) {
	flags := openDirFlags
	if dirfd == unix.AT_FDCWD {
		flags &^= unix.O_NOFOLLOW
	}
	fd, err := openat(dirfd, name, flags, 0)
	if err != nil {
		return false, err
	}
	m.fds.add(fd)
	m.parts = append(m.parts, part{fd: fd, layer: layer})
	x, err := xattrsOfFD(fd)
	if err != nil {
		return false, err
	}
	names, err := readNames(fd)
	if err != nil {
		return false, err
	}
	opaque, err := m.merge(names, gone)
	return x.opaque || opaque, err
}

// merge finds out which names of the last part are seen.
func (m *view) merge(names dirents, gone map[string]bool) (opaque bool, err error) {
	p := &m.parts[len(m.parts)-1]
	above := m.names()
	names.delete(func(d dirent) bool {
		if hidden, ok := strings.CutPrefix(d.name, whPrefix); ok {
			switch {
			case d.name == whOpaque || d.name == whFuseOpaque:
				opaque = true
			case p.hides == nil:
				p.hides = map[string]bool{hidden: true}
			default:
				p.hides[hidden] = true
			}
			return true
		}
		if seen := above.Pass(d.name); seen || gone[d.name] || err != nil {
			return true
		}
		absent, failed := isAbsent(p.fd, d)
		if failed == unix.ENOENT {
			return true // it has gone since it was listed
		}
		if err = failed; absent {
			gone[d.name] = true
		}
		return absent
	})
	for name := range p.hides {
		gone[name] = true
	}
	p.shown = names
	return opaque, err
}

// place gives the number of the part that shows a name.
func (m *view) place(name string) (int, bool) {
	for i := range m.parts {
		if m.parts[i].shown.Has(name) {
			return i, true
		}
	}
	return 0, false
}

// find gives the part that shows a name.
func (m *view) find(name string) (part, bool) {
	i, ok := m.place(name)
	if !ok {
		return part{}, false
	}
	return m.parts[i], true
}

// isAbsent tells names that only hide what lies below: whiteouts, and sockets,
// which no layer can hold.
func isAbsent(fd int, d dirent) (bool, error) {
	switch d.typ {
	case unix.DT_SOCK:
		return true, nil
	case unix.DT_CHR, unix.DT_UNKNOWN:
		var st unix.Stat_t
		if err := lstatAt(fd, d.name, &st); err != nil {
			return false, err
		}
		return isWhiteout(&st) || typeOf(st.Mode) == 0, nil
	}
	return false, nil
}

// shows is find for one of the view's names, or of an earlier view of the directory.
func (m *view) shows(name dirnames.Name) (part, bool) {
	if name.List < len(m.parts) && m.parts[name.List].shown.Has(name.Text) {
		return m.parts[name.List], true
	}
	return m.find(name.Text)
}

// names gives all that are seen.
func (m *view) names() *dirnames.Union {
	lists := make([]dirnames.List, len(m.parts))
	for i, p := range m.parts {
		lists[i] = p.shown.List
	}
	return dirnames.NewUnion(lists...)
}

// openFile opens a regular file of the view. The type is looked at before:
// opening a device or a pipe can have effects.
func (m *view) openFile(name string) (int, error) {
	p, ok := m.find(name)
	if !ok {
		return -1, fs.ErrNotExist
	}
	return p.openFile(name)
}

func (p part) openFile(name string) (int, error) {
	var st unix.Stat_t
	if err := lstatAt(p.fd, name, &st); err != nil {
		return -1, err
	}
	if typeOf(st.Mode) != TypeReg {
		return -1, unix.EINVAL
	}
	return openat(p.fd, name, openFileFlags, 0)
}

func (m *view) close() {
	for _, p := range m.parts {
		m.fds.close(p.fd)
	}
	m.parts = nil
}

type cachedView struct {
	path string
	*view
}

// view gives the view of a directory from the cache, or opens it and those
// above it. It is valid until the tree's lock is released.
func (t *Tree) view(path string) (*view, error) {
	if el, ok := t.views[path]; ok {
		t.recent.MoveToFront(el)
		return el.Value.(*cachedView).view, nil
	}
	m, err := t.openView(path)
	if err != nil {
		return nil, err
	}
	t.views[path] = t.recent.PushFront(&cachedView{path, m})
	for t.fds.len() > maxTreeFDs && t.recent.Len() > 1 {
		t.evict(t.recent.Back())
	}
	return m, nil
}

func (t *Tree) openView(path string) (*view, error) {
	if path == "" {
		return t.openRoot()
	}
	dir, base := split(path)
	above, err := t.view(dir)
	if err != nil {
		return nil, err
	}
	return above.child(base)
}

func (t *Tree) evict(el *list.Element) {
	c := t.recent.Remove(el).(*cachedView)
	delete(t.views, c.path)
	c.close()
}

// fdCount keeps the descriptors of a tree apart from the tree itself, so that
// they can be closed when nobody holds the tree any more.
type fdCount struct {
	mu   sync.Mutex
	open map[int]bool
}

func (c *fdCount) add(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[fd] = true
}

func (c *fdCount) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func (c *fdCount) close(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[fd] {
		delete(c.open, fd)
		closeFD(fd)
	}
}

func (c *fdCount) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for fd := range c.open {
		closeFD(fd)
	}
	clear(c.open)
}
