package stage

import (
	"context"
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
	if r.to.in.Extract || path.Base(m.Path) != m.Name {
		return false, r.end(ctx) // it may be an archive, or has another name than it was found by
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
	if err := r.to.list(ctx, &it); err != nil || it.count == 0 {
		_ = it.run.Close()
		return err
	}
	r.to.items = append(r.to.items, it)
	return nil
}
