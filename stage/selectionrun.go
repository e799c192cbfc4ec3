package stage

import (
	"context"
	"errors"
	"path"
)

// run gathers the files that a pattern names itself, of which there may be very
// many, into items of many files each. A run ends where a directory stands between,
// or the names don't ascend: so a run's files land in the order of their places.
type run struct {
	to     *selection
	files  Files
	filter filter
	list   Gathered // nil where none has begun
	last   string   // name in it
}

// take takes a match into a run, if it may be in one.
func (r *run) take(ctx context.Context, m Match) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if path.Base(m.Path) != m.Name {
		return false, r.end(ctx) // it was found by another name
	}
	if r.list != nil && r.last >= m.Name {
		if err := r.end(ctx); err != nil {
			return false, err
		}
	}
	if r.list == nil {
		r.list = r.files.Gather()
	}
	added, err := r.list.Add(m.Path)
	if err != nil {
		return false, err
	}
	if !added {
		return false, r.end(ctx)
	}
	r.last = m.Name
	return true, nil
}

// end adds what has been gathered to the selection.
func (r *run) end(ctx context.Context) error {
	if r.list == nil {
		return nil
	}
	it := item{files: r.files, filter: r.filter, run: r.list}
	r.list, r.last = nil, ""
	err := r.to.list(ctx, &it)
	switch {
	case err != nil || it.count == 0:
		_ = it.run.Close()
		return err
	case it.count <= shortestRun, r.to.in.Extract: // each may be an archive
		return r.to.part(ctx, &it)
	}
	r.to.items = append(r.to.items, it)
	return nil
}

// drop gives back what has been gathered.
func (r *run) drop() {
	if r.list != nil {
		_ = r.list.Close()
	}
}

// shortestRun is the number of files up to which items of their own take less memory
// than a run of them: a pattern may find few files in each of many directories.
const shortestRun = 4

// part adds a run's files as items of their own.
func (s *selection) part(ctx context.Context, run *item) error {
	if len(run.kept) > 0 {
		s.kept -= run.count // the selection counts none that an item has anyway
	}
	err := s.walk(ctx, run, func(f *File) error {
		s.items = append(s.items, item{
			name: path.Base(f.Path), files: run.files, top: f, base: parentDir(f.Path), from: f.Path, within: true,
			filter: run.filter, first: f.place, count: 1, kept: []*File{f},
		})
		return nil
	})
	return errors.Join(err, run.run.Close())
}
