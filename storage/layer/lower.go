package layer

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// lower is the parent's directory beneath one that is walked. Single names are
// looked up layer by layer, so that what was changed in a large directory is
// found without reading that; its view is opened where many are asked about, or
// all.
type lower struct {
	tree  *Tree
	above *lower
	name  string

	view   *view
	opened bool
	parts  []part
	found  bool
}

// fewNames is how many names are looked up one by one rather than in a view.
const fewNames = 64

func (l *lower) child(name string) *lower { return &lower{tree: l.tree, above: l, name: name} }

// expect tells how many names will be asked about.
func (l *lower) expect(names int) error {
	if names <= fewNames {
		return nil
	}
	_, err := l.open()
	return err
}

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

// dirs gives the directory in each layer that shows through, the top one first;
// none where the parent has no such directory.
func (l *lower) dirs() ([]part, error) {
	switch {
	case l.found:
		return l.parts, nil
	case l.view != nil:
		return l.view.parts, nil
	}
	l.found = true
	if l.above == nil {
		return l.parts, l.findRoot()
	}
	above, err := l.above.dirs()
	if err != nil {
		return nil, err
	}
	for _, p := range above {
		last, err := l.add(p.fd, l.name, p.layer)
		if err == unix.ENOTDIR || err == unix.ELOOP {
			break
		}
		if err != nil && err != unix.ENOENT {
			return nil, err
		}
		hidden, err := exists(p.fd, whPrefix+l.name)
		if err != nil {
			return nil, err
		}
		if last || hidden {
			break
		}
	}
	return l.parts, nil
}

func (l *lower) findRoot() error {
	for i, dir := range l.tree.dirs {
		if last, err := l.add(unix.AT_FDCWD, dir, i); err != nil || last {
			return err
		}
	}
	return nil
}

// add opens the directory in one more layer, and tells whether that is the last
// to be seen.
func (l *lower) add(dirfd int, name string, layer int) (last bool, err error) {
	flags := openDirFlags
	if dirfd == unix.AT_FDCWD {
		flags &^= unix.O_NOFOLLOW
	}
	fd, err := openat(dirfd, name, flags, 0)
	if err != nil {
		return false, err
	}
	l.tree.fds.add(fd)
	l.parts = append(l.parts, part{fd: fd, layer: layer})
	x, err := xattrsOfFD(fd)
	if err != nil || x.opaque {
		return x.opaque, err
	}
	return exists(fd, whOpaque)
}

func exists(fd int, name string) (bool, error) {
	var st unix.Stat_t
	err := lstatAt(fd, name, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// find gives the part that shows a name.
func (l *lower) find(name string) (p part, ok bool, err error) {
	if l.view != nil {
		p, ok := l.view.find(name)
		return p, ok, nil
	}
	if l.opened || isReserved(name) {
		return part{}, false, nil
	}
	dirs, err := l.dirs()
	if err != nil {
		return part{}, false, err
	}
	for _, p := range dirs {
		var st unix.Stat_t
		err := lstatAt(p.fd, name, &st)
		if err == nil {
			return p, !isWhiteout(&st) && typeOf(st.Mode) != 0, nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return part{}, false, err
		}
		if hidden, err := exists(p.fd, whPrefix+name); err != nil || hidden {
			return part{}, false, err
		}
	}
	return part{}, false, nil
}

func (l *lower) has(name string) (bool, error) {
	_, ok, err := l.find(name)
	return ok, err
}

// node gives nil where the parent has no such name.
func (l *lower) node(name, path string) (*Node, error) {
	p, ok, err := l.find(name)
	if err != nil || !ok {
		return nil, err
	}
	n, err := l.tree.nodeIn(p, name, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return n, err
}

func (l *lower) openFile(name string) (int, error) {
	p, ok, err := l.find(name)
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	if err != nil {
		return -1, err
	}
	return p.openFile(name)
}

// missing adds the names that the parent has and list hasn't to deleted.
func (l *lower) missing(list dirents, deleted map[string]bool) error {
	m, err := l.open()
	if err != nil || m == nil {
		return err
	}
	for _, p := range m.parts {
		for name := range p.shown.All() {
			if !list.Has(name) {
				deleted[name] = true
			}
		}
	}
	return nil
}

func (l *lower) close() {
	if l.view != nil {
		l.view.close()
	}
	for _, p := range l.parts {
		l.tree.fds.close(p.fd)
	}
}
