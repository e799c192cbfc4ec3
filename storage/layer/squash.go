package layer

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Part is one of the layers that [Squash] makes one of, with how it would be
// packed alone.
type Part struct {
	Source
	Time    TimeRule
	Foreign *Times
}

// Squash makes one layer of several, the lowest first: what it says of each name
// is what the topmost says that has it, with the time that it would be packed
// with there. base is the tree below all of them, and top the one that they
// lead to, of which contents are read. What came and went again leaves nothing.
// The entries are held in memory; contents are not.
func Squash(ctx context.Context, parts []Part, base, top *Tree) (Source, error) {
	s := &squash{base: base, top: top, root: &squashed{}}
	for i, p := range parts {
		rule := p.Time
		rule.foreign = p.Foreign
		src := p.Source
		if t, ok := src.(timed); ok {
			src = t.timed(rule)
		}
		if err := src.Walk(ctx, func(e *Entry) error { s.put(e, i, rule); return nil }); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// squash is a tree of what several layers say.
type squash struct {
	base, top *Tree
	root      *squashed
}

// squashed is what is said of one name.
type squashed struct {
	entry *Entry // nil where the name is gone
	part  int    // where the entry comes from
	// cleared says that what lies below, in the base, is hidden.
	cleared  bool
	children map[string]*squashed
}

func (s *squash) put(e *Entry, part int, rule TimeRule) {
	n := s.at(e.Path)
	if e.Whiteout || e.Type != TypeDir {
		n.children, n.cleared = nil, true
	}
	switch {
	case e.Whiteout:
		n.entry = nil
	case e.Implied && n.entry != nil && n.entry.Type == TypeDir:
		// The layer below has said more.
	default:
		kept := *e
		kept.ModTime, kept.timeKept, kept.Open = time.Unix(rule.apply(e), 0), false, nil
		n.entry, n.part = &kept, part
	}
}

// at gives the place of a path.
func (s *squash) at(path string) *squashed {
	if path == "" {
		return s.root
	}
	dir, base := split(path)
	above := s.at(dir)
	n, ok := above.children[base]
	if !ok {
		n = &squashed{}
		if above.children == nil {
			above.children = map[string]*squashed{}
		}
		above.children[base] = n
	}
	return n
}

// Walk gives what is left of all entries.
func (s *squash) Walk(ctx context.Context, fn func(*Entry) error) error {
	w := &squashWalk{squash: s, ctx: ctx, fn: fn, links: map[linkID]string{}}
	defer func() { _ = errors.Join(s.base.Close(), s.top.Close()) }() // they stay usable
	if s.root.entry != nil && !s.root.entry.Implied {
		if err := fn(s.root.entry); err != nil {
			return err
		}
	}
	return w.dir(s.root, "", false)
}

type squashWalk struct {
	*squash
	ctx     context.Context
	fn      func(*Entry) error
	implied []*Entry // directories from the root to here that fn hasn't had
	links   map[linkID]string
}

// linkID is a file with several names: the layer that it comes from, and its
// first name there.
type linkID struct {
	part  int
	first string
}

// dir gives what is in a directory. hidden says that nothing of the base is to
// be seen in it.
func (w *squashWalk) dir(n *squashed, path string, hidden bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	hidden = hidden || n.cleared
	names := slices.Collect(maps.Keys(n.children))
	if hidden {
		more, err := w.below(path)
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := w.name(n.children[name], join(path, name), hidden); err != nil {
			return pathError("squash", join(path, name), err)
		}
	}
	return nil
}

// below lists a directory of the base, if it has it.
func (w *squashWalk) below(path string) ([]string, error) {
	nodes, err := w.base.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		_, names[i] = split(n.Path)
	}
	return names, err
}

// name gives what is said of one name; n is nil where that is only that the
// base's is hidden.
func (w *squashWalk) name(n *squashed, path string, hidden bool) error {
	if n == nil || n.entry == nil {
		return w.whiteout(path)
	}
	e := *n.entry
	if e.Type != TypeDir {
		if err := w.complete(&e, n.part); err != nil {
			return err
		}
		return w.emit(&e)
	}
	if e.Implied {
		w.implied = append(w.implied, &e)
	} else if err := w.emit(&e); err != nil {
		return err
	}
	err := w.dir(n, path, hidden)
	if last := len(w.implied) - 1; last >= 0 && w.implied[last] == &e {
		w.implied = w.implied[:last]
	}
	return err
}

// complete gives a file its content. Of the names of one the first that is left
// becomes the file, and the others links to it.
func (w *squashWalk) complete(e *Entry, part int) error {
	if e.Type != TypeReg && e.Type != TypeLink {
		return nil
	}
	id := linkID{part, e.Path}
	if e.Type == TypeLink {
		id.first = e.Linkname
	}
	if first, ok := w.links[id]; ok {
		e.Type, e.Linkname, e.Size, e.Xattrs = TypeLink, first, 0, nil
		return nil
	}
	w.links[id] = e.Path
	n, err := w.top.Lstat(e.Path)
	if err != nil {
		return err
	}
	e.Type, e.Linkname, e.Size, e.Xattrs, e.Open = TypeReg, "", n.Size, n.Xattrs, n.Open
	return nil
}

func (w *squashWalk) emit(e *Entry) error {
	for _, dir := range w.implied {
		if err := w.fn(dir); err != nil {
			return err
		}
	}
	w.implied = w.implied[:0]
	return w.fn(e)
}

// whiteout says that a name is gone, if the base has it.
func (w *squashWalk) whiteout(path string) error {
	_, err := w.base.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.emit(&Entry{Path: path, Whiteout: true})
}
