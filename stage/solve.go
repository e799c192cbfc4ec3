package stage

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/snapshot"
)

// job is one instruction that changes files.
type job struct {
	kind        string
	inputs      []cache.Input // what the key is made from
	instruction string        // as the user wrote it
	createdBy   string
	written     bool // see Layer.Written

	// details gives more inputs for the record, which the key covers by a
	// digest; it may be nil.
	details iter.Seq[cache.Input]

	// execute makes the snapshot called result on st.Tree.
	execute func(ctx context.Context, result snapshot.Key) error
	// log, where set by execute, is where the step's output is kept.
	log string
}

// allInputs yields the key's inputs, and the details that they cover.
func (j *job) allInputs(yield func(cache.Input) bool) {
	for _, in := range j.inputs {
		if !yield(in) {
			return
		}
	}
	if j.details != nil {
		j.details(yield)
	}
}

// solve takes the state over a job: by its known result, or by executing it.
func (r *Runner) solve(ctx context.Context, st *State, at Step, j *job) error {
	if r.defineOnly {
		r.follow(st, j)
		return nil
	}
	if r.adoptKnown(st, at, j) {
		return nil
	}
	if r.Snapshots == nil {
		return ErrNamespace
	}
	key := keyOf(j.kind, j.inputs)
	unlock, err := r.lockStep(ctx, at, key)
	if err != nil {
		return err
	}
	defer unlock()
	// Another build may have made it while this one waited for the lock.
	if r.adoptKnown(st, at, j) {
		return nil
	}
	r.explain(at, j, key)
	if err := r.EnsureTree(ctx, st); err != nil {
		return err
	}
	result := resultOf(key)
	if err := r.lease(key, result); err != nil {
		return err
	}
	if err := r.inSlot(ctx, at, func() error { return j.execute(ctx, result) }); err != nil {
		return err
	}
	return r.record(st, at, j, key, result)
}

// record notes what was executed, so that it is found the next time.
func (r *Runner) record(st *State, at Step, j *job, key digest.Digest, result snapshot.Key) error {
	step := &cache.Step{
		Key: key, Result: result, Parent: st.Key, Follows: st.Key == st.Tree, Version: rules, Kind: j.kind,
		Instruction: j.instruction, CreatedBy: j.createdBy,
		Created: time.Now().UTC(), Log: j.log,
	}
	if err := r.Cache.PutStep(step, j.allInputs); err != nil {
		return err
	}
	r.Report(Made{Step: at, Key: key, Parent: st.Key, Tree: result})
	r.advance(st, at, Layer{Tree: result, Written: j.written}, step, j.createdBy)
	return nil
}

// lookup gives the known result of a step, nil where there is none that can
// still be used.
func (r *Runner) lookup(key digest.Digest) *cache.Step {
	if r.NoCache {
		return nil
	}
	step, err := r.Cache.Step(key)
	if err != nil || r.lease(key, step.Result) != nil || !r.usable(step.Result) {
		return nil
	}
	return step
}

// usable says whether a layer is there in either of its forms.
func (r *Runner) usable(tree snapshot.Key) bool {
	if r.Snapshots != nil && r.Snapshots.HasTree(tree) {
		return true
	}
	rec, err := r.Records.Get(tree)
	if err != nil {
		return false
	}
	if r.Snapshots == nil && len(rec.Trees) > 0 {
		return true
	}
	for _, p := range rec.Packings {
		if p.Exact == r.ExactOwners && r.Layout.HasBlob(p.Blob.Digest, p.Blob.Size) {
			return true
		}
	}
	return false
}

// adoptKnown takes the state over a job whose result is known, and says whether
// it is.
func (r *Runner) adoptKnown(st *State, at Step, j *job) bool {
	step := r.lookup(keyOf(j.kind, j.inputs))
	if step == nil {
		return false
	}
	r.Cache.Used(step.Key)
	r.Report(Cached{Step: at, Key: step.Key, Parent: st.Key})
	r.advance(st, at, Layer{Tree: step.Result, Written: j.written}, step, j.createdBy)
	return true
}

// advance takes the state over a step. The history has the instruction as it is
// written in this Dockerfile: the record may come from one that says it in other
// words.
func (r *Runner) advance(st *State, at Step, l Layer, step *cache.Step, createdBy string) {
	st.grow(l, createdBy, step.Created)
	st.Key = step.Result
	st.addOutcomes(outcomes{{st.Definition, step.Result}: true})
	st.ID = step.Key
	if r.Made != nil {
		r.Made(slices.Clip(st.Layers))
	}
	r.Report(Done{Step: at, ID: ShortID(st.ID)})
}

// define takes the definition chain over an instruction.
func (st *State) define(kind string, inputs []cache.Input) {
	st.Definition = keyOf("define "+kind, append([]cache.Input{{Name: "parent", Value: st.Definition.String()}}, inputs...))
}

// EnsureTree makes the snapshot of the state's tree from the blobs of its
// layers, where it isn't there.
func (r *Runner) EnsureTree(ctx context.Context, st *State) error {
	if r.Snapshots == nil {
		return ErrNamespace
	}
	if r.Snapshots.HasTree(st.Tree) {
		return nil
	}
	layers := make([]snapshot.UnpackLayer, len(st.Layers))
	for i, l := range st.Layers {
		layers[i] = snapshot.UnpackLayer{Key: l.Tree, DiffID: l.DiffID, Size: l.Blob.Size, Blob: l.Blob.Digest, Image: l.Image}
		blob := l.Blob
		if !l.FromImage() && !r.Snapshots.HasTree(l.Tree) {
			p, err := r.packedLayer(ctx, l)
			if err != nil {
				return err
			}
			blob, layers[i].DiffID, layers[i].Size = p.Blob, p.DiffID, p.Blob.Size
		}
		layers[i].Open = func() (io.ReadCloser, error) { return r.Layout.OpenBlob(blob) }
	}
	return r.Snapshots.Unpack(ctx, layers, nil)
}

var errNoBlob = errors.New("neither the tree nor the blob of a layer is in the store")

// packedLayer gives the blob from which a layer's tree can be made.
func (r *Runner) packedLayer(ctx context.Context, l Layer) (snapshot.Packing, error) {
	p, err := r.packed(l.Tree)
	if l.Alone == "" || !errors.Is(err, errNoBlob) || !r.Snapshots.HasTree(l.Alone) {
		return p, err
	}
	if err := r.packAlone(ctx, l.Alone); err != nil {
		return p, err
	}
	return r.packed(l.Alone)
}

// packed gives the blob from which a tree can be made: best one with the
// tree's own times.
func (r *Runner) packed(tree snapshot.Key) (snapshot.Packing, error) {
	rec, err := r.Records.Get(tree)
	if err != nil {
		return snapshot.Packing{}, err
	}
	var found *snapshot.Packing
	for _, p := range rec.Packings {
		if p.Exact == r.ExactOwners && r.Layout.HasBlob(p.Blob.Digest, p.Blob.Size) && (found == nil || p.Time.Mode == "") {
			found = &p
		}
	}
	if found == nil {
		return snapshot.Packing{}, errNoBlob
	}
	return *found, nil
}

// TreeFiles gives the files of a state's tree as a source of COPY.
func (r *Runner) TreeFiles(ctx context.Context, st *State) (Files, error) {
	if err := r.EnsureTree(ctx, st); err != nil {
		return nil, err
	}
	tree, err := r.Snapshots.Tree(st.Tree)
	if err != nil {
		return nil, err
	}
	return treeFiles{tree, newTreeLists(r.Cache.Dir())}, nil
}
