package layer

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// Differing makes a Source of entries that are to be put over the parent's
// tree, in any order: what stands there already in the same form is left out,
// and the directories that lead to an entry come along. It gives what [Upper]
// would give if the entries had been written by a [DirWriter], but for the time
// of a directory that is below as well: here it counts even where the step was
// running at it.
func Differing(entries []*Entry, parent *Tree) Source {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b *Entry) int { return comparePaths(a.Path, b.Path) })
	return &differing{entries: sorted, parent: parent, absent: map[string]bool{}}
}

type differing struct {
	entries []*Entry
	parent  *Tree
	// absent has the directories that the parent's tree lacks, so that the
	// entries of a new directory aren't looked up one by one.
	absent map[string]bool
	TimeRule
}

func (d *differing) timed(r TimeRule) Source {
	return &differing{entries: d.entries, parent: d.parent, absent: map[string]bool{}, TimeRule: r}
}

// comparePaths orders paths as a walk meets them: name by name, a directory
// before what is in it.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int(rank(a[i])) - int(rank(b[i]))
		}
	}
	return len(a) - len(b)
}

// rank has the end of a name come before every byte that a name can have.
func rank(c byte) byte {
	if c == '/' {
		return 0
	}
	return c
}

// Walk compares each entry with what lies below.
func (d *differing) Walk(ctx context.Context, fn func(*Entry) error) error {
	w := &differingWalk{differing: d, fn: fn, given: map[string]bool{"": true}, added: map[string]*Entry{}}
	for _, e := range d.entries {
		if e.Type == TypeDir {
			w.added[e.Path] = e
		}
	}
	for _, e := range d.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		same, err := d.unchanged(e)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		dir, _ := split(e.Path)
		if err := w.parents(dir); err != nil {
			return err
		}
		w.given[e.Path] = true
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

type differingWalk struct {
	*differing
	fn    func(*Entry) error
	given map[string]bool   // directories that fn had, or needn't have
	added map[string]*Entry // directories among the entries
}

// parents gives fn the directories that lead to a path.
func (w *differingWalk) parents(dir string) error {
	if w.given[dir] {
		return nil
	}
	above, _ := split(dir)
	if err := w.parents(above); err != nil {
		return err
	}
	w.given[dir] = true
	e, ok := w.added[dir]
	if !ok {
		n, err := w.parent.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return w.fn(impliedDir(dir, time.Time{}))
		}
		if err != nil {
			return err
		}
		e = &n.Entry
	}
	implied := *e
	implied.Implied = true
	return w.fn(&implied)
}

// unchanged tells whether an entry stands in the parent's tree as it is.
func (d *differing) unchanged(e *Entry) (bool, error) {
	if dir, _ := split(e.Path); d.absent[dir] {
		d.absent[e.Path] = e.Type == TypeDir
		return e.Whiteout, nil
	}
	old, err := d.parent.Lstat(e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		d.absent[e.Path] = e.Type == TypeDir
		return e.Whiteout, nil
	}
	if err != nil || e.Whiteout {
		return false, err
	}
	if e.Path == "" {
		return sameMeta(e, &old.Entry), nil
	}
	if !d.sameEntry(e, old) {
		return false, nil
	}
	if e.Type != TypeReg || e.Size == 0 {
		return true, nil
	}
	now, err := e.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = now.Close() }()
	before, err := d.parent.Open(e.Path)
	if err != nil {
		return false, err
	}
	defer func() { _ = before.Close() }()
	return sameContent(now, before, make([]byte, compareBuffer))
}
