package stage

import (
	"context"
	"path"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Workdir is WORKDIR: the directory of the instructions that follow, made
// where the image lacks it.
type Workdir struct {
	// Dir is the directory, absolute.
	Dir                    string
	Instruction, CreatedBy string
}

func (in Workdir) apply(ctx context.Context, r *Runner, st *State, at Step) error {
	st.Config.Config.WorkingDir = in.Dir
	if in.Dir == "/" {
		st.note(in.CreatedBy)
		r.Report(Done{Step: at, ID: ShortID(st.ID)})
		return nil
	}
	inputs := []cache.Input{
		{Name: "dir", Value: in.Dir},
		{Name: "user", Value: st.Config.Config.User},
		{Name: "owners", Value: strconv.FormatBool(r.ExactOwners)},
	}
	st.define("workdir", inputs)
	return r.solve(ctx, st, at, &job{
		kind:        "workdir",
		inputs:      append([]cache.Input{{Name: "parent", Value: st.Key.String()}}, inputs...),
		instruction: in.Instruction,
		createdBy:   in.CreatedBy,
		written:     true,
		execute: func(ctx context.Context, result snapshot.Key) error {
			return in.execute(ctx, r, st, result)
		},
	})
}

// execute makes the directories that are missing, owned by the image's user.
func (in Workdir) execute(ctx context.Context, r *Runner, st *State, result snapshot.Key) error {
	active, err := r.Snapshots.Prepare(ctx, st.Tree)
	if err != nil {
		return err
	}
	defer func() { _ = active.Discard() }()
	w := active.Writer()
	p, err := newPlacement(Copy{Verb: "WORKDIR"}, active.Parent(), in.Dir, w.Write)
	if err != nil {
		return err
	}
	if spec := st.Config.Config.User; spec != "" {
		o, err := lookupOwner(active.Parent(), "USER "+spec, spec)
		if err != nil {
			return err
		}
		p.owner = &o
	}
	dir, err := p.parent.Resolve(strings.Trim(path.Clean(in.Dir), "/"), true)
	if err != nil {
		return err
	}
	if err := p.makeDirs(dir); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return active.Commit(result)
}
