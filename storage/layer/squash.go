package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/builder-oci/builder/internal/pathorder"
	"github.com/builder-oci/builder/internal/spool"
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
//
// A Walk goes through the parts one after the other, and notes what they say in
// files without a name in dir: so neither memory nor open files grow with the
// layers.
func Squash(parts []Part, base, top *Tree, dir string) Source {
	return &squash{parts: parts, base: base, top: top, dir: dir}
}

type squash struct {
	parts     []Part
	base, top *Tree
	dir       string
}

// Walk gives what is left of all entries.
func (s *squash) Walk(ctx context.Context, fn func(*Entry) error) (err error) {
	defer func() { _ = errors.Join(s.base.Close(), s.top.Close()) }() // they stay usable
	notes, err := noteParts(ctx, s.parts, s.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, notes.close()) }()
	w := &squashWalk{squash: s, fn: fn, links: notes.links, dirs: []*squashed{{entry: &Entry{Type: TypeDir}, floor: -1}}}
	for {
		said, err := notes.next()
		if err != nil {
			return err
		}
		if len(said) == 0 {
			return w.leave(0)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.add(said); err != nil {
			return pathError("squash", said[0].Path, err)
		}
	}
}

// said is what one part says of a name.
type said struct {
	*Entry
	part int
}

// squashed is what all parts together say of one name.
type squashed struct {
	path  string
	entry *Entry // nil where the name is gone
	part  int    // where the entry comes from
	// floor is the last part after which there was no directory of this name: what
	// it and those before it say of names in it doesn't count.
	floor int
	// hidden says that of the base nothing is to be seen in it, and names are
	// those that the base has there, without those that had their turn.
	hidden bool
	names  []string
}

// settle gives what is left of what is said of a name.
func settle(all []said, in *squashed) *squashed {
	n := &squashed{path: all[0].Path, floor: in.floor, hidden: in.hidden}
	for _, s := range all {
		if s.Whiteout || s.Type != TypeDir {
			n.floor, n.hidden = s.part, true
		}
		switch {
		case s.Whiteout:
			n.entry = nil
		case s.Implied && n.isDir():
			// The layer below has said more.
		default:
			n.entry, n.part = s.Entry, s.part
		}
	}
	return n
}

func (n *squashed) isDir() bool { return n.entry != nil && n.entry.Type == TypeDir }

// squashWalk is one Walk.
type squashWalk struct {
	*squash
	fn      func(*Entry) error
	dirs    []*squashed // from the root to what was added last
	implied []*Entry    // those of them that fn hasn't had
	links   *firstNames // as in the notes
}

// linkKey names a file with several names by the part that it comes from and its
// first name there.
func linkKey(part int, first string) spool.Key { return spool.TextKey(uint64(part), first) }

// add takes all that is said of one name, by the lowest part first.
func (w *squashWalk) add(all []said) error {
	path := all[0].Path
	if path == "" {
		root := settle(all, w.dirs[0])
		w.dirs[0] = root
		if root.isDir() && !root.entry.Implied {
			return w.fn(root.entry)
		}
		return nil
	}
	if err := w.leave(w.above(path)); err != nil {
		return err
	}
	in := w.dirs[len(w.dirs)-1]
	for len(all) > 0 && all[0].part <= in.floor {
		all = all[1:]
	}
	if len(all) == 0 {
		return nil
	}
	dir, base := split(path)
	if in.path != dir || !in.isDir() {
		return fmt.Errorf("malformed layer: %q is in no directory", path)
	}
	if err := w.gone(in, base); err != nil {
		return err
	}
	n := settle(all, in)
	w.dirs = append(w.dirs, n)
	return w.give(n)
}

// give tells fn what is left of a name.
func (w *squashWalk) give(n *squashed) error {
	e := n.entry
	switch {
	case e == nil:
		return w.whiteout(n.path)
	case e.Type != TypeDir:
		if err := w.complete(e, n.part); err != nil {
			return err
		}
		return w.emit(e)
	}
	if e.Implied {
		w.implied = append(w.implied, e)
	} else if err := w.emit(e); err != nil {
		return err
	}
	if !n.hidden {
		return nil
	}
	var err error
	n.names, err = w.below(n.path)
	return err
}

// above gives the number of the last directory in which a path is.
func (w *squashWalk) above(path string) int {
	at := len(w.dirs) - 1
	for at > 0 && !pathorder.Beneath(w.dirs[at].path, path) {
		at--
	}
	return at
}

// leave ends the directories after the one with a number.
func (w *squashWalk) leave(number int) error {
	for len(w.dirs)-1 > number {
		n := w.dirs[len(w.dirs)-1]
		if err := w.gone(n, ""); err != nil {
			return pathError("squash", n.path, err)
		}
		if last := len(w.implied) - 1; last >= 0 && w.implied[last] == n.entry {
			w.implied = w.implied[:last]
		}
		w.dirs = w.dirs[:len(w.dirs)-1]
	}
	return nil
}

// gone says that the names which the base has in a hidden directory before one of
// the parts are gone, or all that are left.
func (w *squashWalk) gone(in *squashed, before string) error {
	for len(in.names) > 0 && (before == "" || in.names[0] <= before) {
		name := in.names[0]
		in.names = in.names[1:]
		if name == before {
			break
		}
		if err := w.whiteout(join(in.path, name)); err != nil {
			return err
		}
	}
	return nil
}

// below lists a directory of the base, if it has it.
func (w *squashWalk) below(path string) ([]string, error) {
	names, err := w.base.names(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.Collect(names.All()), nil
}

// complete gives a file its content. Of the names of one the first that is left
// becomes the file, and the others links to it.
func (w *squashWalk) complete(e *Entry, part int) error {
	if e.Type != TypeReg && e.Type != TypeLink {
		return nil
	}
	file := linkKey(part, e.Path)
	if e.Type == TypeLink {
		file = linkKey(part, e.Linkname)
	}
	first, shared, err := w.links.get(file)
	switch {
	case err != nil:
		return err
	case first != "":
		e.Type, e.Linkname = TypeLink, first
		return nil
	case shared:
		if err := w.links.set(file, e.Path); err != nil {
			return err
		}
	}
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
