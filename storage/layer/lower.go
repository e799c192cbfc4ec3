package layer

import (
	"errors"
	"io/fs"
)

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
