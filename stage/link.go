package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// A COPY --link makes its layer on an empty tree: nothing of what lies below is
// read, and none of its links are followed. The layer is a result of its own,
// whose key has no parent; the step's result says only that it lies on what is
// below. So a changed base finds the layer known, with the same bytes.

// link takes the state over a COPY --link whose content is known.
func (in Copy) link(ctx context.Context, r *Runner, st *State, at Step, sel *selection, content digest.Digest) error {
	known, err := in.linkKnown(r, st, at, sel, content)
	if known || err != nil || r.defineOnly {
		return err
	}
	if r.Snapshots == nil {
		return ErrNamespace
	}
	j := in.alone(r, st, sel, content)
	key := keyOf(j.kind, j.inputs)
	unlock, err := r.lockStep(ctx, at, key)
	if err != nil {
		return err
	}
	defer unlock()
	// Another build may have made it while this one waited for the lock.
	if known, err := in.linkKnown(r, st, at, sel, content); known || err != nil {
		return err
	}
	result := resultOf(key)
	if err := r.lease(key, result); err != nil {
		return err
	}
	if err := r.inSlot(ctx, at, func() error { return j.execute(ctx, result) }); err != nil {
		return err
	}
	own := &cache.Step{
		Key: key, Result: result, Version: rules, Kind: j.kind,
		Instruction: j.instruction, CreatedBy: j.createdBy, Created: time.Now().UTC(),
	}
	if err := r.Cache.PutStep(own, j.allInputs); err != nil {
		return err
	}
	r.Report(Made{Step: at})
	return r.layOn(st, at, in, own)
}

// linkKnown takes the state over a layer that is known, and says whether it is.
// A Definer only notes whether it is on record.
func (in Copy) linkKnown(r *Runner, st *State, at Step, sel *selection, content digest.Digest) (bool, error) {
	j := in.alone(r, st, sel, content)
	key := keyOf(j.kind, j.inputs)
	if r.defineOnly {
		own, err := r.Cache.Step(key)
		if st.lost = st.lost || err != nil; !st.lost {
			st.Key = linkedKey(st.Key, own.Result)
			st.addOutcomes(outcomes{{st.Definition, st.Key}: true})
		}
		return !st.lost, nil
	}
	own := r.lookup(key)
	if own == nil {
		return false, nil
	}
	r.Report(Cached{Step: at})
	return true, r.layOn(st, at, in, own)
}

// alone is the making of the layer, on nothing.
func (in Copy) alone(r *Runner, st *State, sel *selection, content digest.Digest) *job {
	j := in.job(r, st, sel, cache.Input{Name: "parent"}, content)
	j.kind = "link"
	j.execute = func(ctx context.Context, result snapshot.Key) error {
		empty := &State{Config: st.Config}
		if err := in.execute(ctx, r, empty, sel, result); err != nil {
			return err
		}
		if !r.Snapshots.HasTree(result) {
			return nil // it went straight into the blob
		}
		return r.packAlone(ctx, result)
	}
	return j
}

// packAlone makes the blob of a layer that has a tree of its own.
func (r *Runner) packAlone(ctx context.Context, alone snapshot.Key) error {
	src, err := r.Snapshots.Changes(alone)
	if err != nil {
		return err
	}
	return r.Pack(ctx, alone, true, src)
}

// layOn puts a layer of its own on the state. What it was packed into is what
// the tree can be made from as well.
func (r *Runner) layOn(st *State, at Step, in Copy, own *cache.Step) error {
	tree := linkedKey(st.Key, own.Result)
	stepKey := keyOf("linked step", linkedInputs(st.Key, own.Key))
	if err := r.lease(stepKey, tree); err != nil {
		return err
	}
	rec, err := r.Records.Get(own.Result)
	if err != nil && !errors.Is(err, snapshot.ErrNotFound) {
		return err
	}
	if rec != nil {
		for _, p := range rec.Packings {
			if _, ok := r.Records.Packing(tree, p); ok {
				continue
			}
			if err := r.Records.AddPacking(tree, p); err != nil {
				return err
			}
		}
	}
	step := &cache.Step{
		Key: stepKey, Result: tree,
		Parent: st.Key, Follows: st.Key == st.Tree, Version: rules, Kind: strings.ToLower(in.Verb),
		Instruction: in.Instruction, CreatedBy: in.CreatedBy, Created: own.Created,
	}
	if known, err := r.Cache.Step(step.Key); err != nil || known.Result != tree {
		if err := r.Cache.PutStep(step, func(yield func(cache.Input) bool) {
			for _, input := range linkedInputs(st.Key, own.Key) {
				if !yield(input) {
					return
				}
			}
		}); err != nil {
			return err
		}
	}
	r.advance(st, at, Layer{Tree: tree, Alone: own.Result, Written: true}, step, in.CreatedBy)
	return nil
}

// linkedKey names the tree with a layer of its own on top of an outcome.
func linkedKey(below, alone digest.Digest) snapshot.Key {
	return keyOf("linked", linkedInputs(below, alone))
}

func linkedInputs(below, layer digest.Digest) []cache.Input {
	return []cache.Input{{Name: "parent", Value: below.String()}, {Name: "layer", Value: layer.String()}}
}

// linkOwner gives --chown of a COPY --link, which can't look names up.
func linkOwner(chown string) (string, error) {
	if chown == "" {
		return "", nil
	}
	o, err := lookupOwner(layer.NewTree(nil), "--chown="+chown, chown)
	if err != nil {
		return "", fault.New("give ids (--chown=1000:1000), or leave out --link",
			"--chown=%s: names can't be looked up, for --link reads nothing of the image", chown)
	}
	return fmt.Sprintf("%d:%d", o.uid, o.gid), nil
}
