package layer

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/builder-oci/builder/internal/pathorder"
)

// Differing makes a Source of another, whose entries are to be put over the
// parent's tree: what stands there already in the same form is left out,
// and the directories that lead to an entry come along. It gives what [Upper]
// would give if the entries had been written by a [DirWriter], but for the time
// of a directory that is below as well: here it counts even where the step was
// running at it.
func Differing(entries Source, parent *Tree) Source {
	return &differing{entries: entries, parent: parent}
}

type differing struct {
	entries Source
	parent  *Tree
	TimeRule
}

func (d *differing) timed(r TimeRule) Source {
	return &differing{entries: d.entries, parent: d.parent, TimeRule: r}
}

// Walk compares each entry with what lies below.
func (d *differing) Walk(ctx context.Context, fn func(*Entry) error) error {
	w := &differingWalk{differing: d, fn: fn}
	return d.entries.Walk(ctx, w.entry)
}

// differingWalk knows what leads to the entry that it is at. The entries below a
// directory follow it, so that no more has to be kept.
type differingWalk struct {
	*differing
	fn func(*Entry) error
	// dirs are the directories among the entries, given those that fn has had.
	dirs  []*Entry
	given []string
	// absent is a name that the parent's tree lacks, so that the entries of a new
	// directory aren't looked up one by one.
	absent    string
	isMissing bool
}

func (w *differingWalk) entry(e *Entry) error {
	for len(w.dirs) > 0 && !pathorder.Beneath(w.dirs[len(w.dirs)-1].Path, e.Path) {
		w.dirs = w.dirs[:len(w.dirs)-1]
	}
	for len(w.given) > 0 && !pathorder.Beneath(w.given[len(w.given)-1], e.Path) {
		w.given = w.given[:len(w.given)-1]
	}
	same, err := w.unchanged(e)
	if err != nil {
		return err
	}
	if e.Type == TypeDir {
		kept := *e
		w.dirs = append(w.dirs, &kept)
	}
	if same {
		return nil
	}
	dir, _ := split(e.Path)
	if err := w.parents(dir); err != nil {
		return err
	}
	if e.Type == TypeDir {
		w.given = append(w.given, e.Path)
	}
	return w.fn(e)
}

// parents gives fn the directories that lead to an entry.
func (w *differingWalk) parents(dir string) error {
	if dir == "" || len(w.given) > 0 && w.given[len(w.given)-1] == dir {
		return nil
	}
	above, _ := split(dir)
	if err := w.parents(above); err != nil {
		return err
	}
	w.given = append(w.given, dir)
	for _, e := range w.dirs {
		if e.Path == dir {
			return w.implied(e)
		}
	}
	n, err := w.parent.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return w.fn(impliedDir(dir, time.Time{}))
	}
	if err != nil {
		return err
	}
	return w.implied(&n.Entry)
}

func (w *differingWalk) implied(e *Entry) error {
	implied := *e
	implied.Implied = true
	return w.fn(&implied)
}

// unchanged tells whether an entry stands in the parent's tree as it is.
func (w *differingWalk) unchanged(e *Entry) (bool, error) {
	if w.isMissing && pathorder.Beneath(w.absent, e.Path) {
		return e.Whiteout, nil
	}
	old, err := w.parent.Lstat(e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		w.absent, w.isMissing = e.Path, true
		return e.Whiteout, nil
	}
	if err != nil || e.Whiteout {
		return false, err
	}
	if e.Path == "" {
		return sameMeta(e, &old.Entry), nil
	}
	if same, err := w.sameEntry(e, old); err != nil || !same {
		return false, err
	}
	if e.Type != TypeReg || e.Size == 0 {
		return true, nil
	}
	now, err := e.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = now.Close() }()
	before, err := w.parent.Open(e.Path)
	if err != nil {
		return false, err
	}
	defer func() { _ = before.Close() }()
	return sameContent(now, before, make([]byte, compareBuffer))
}
