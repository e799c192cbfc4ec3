package build

import (
	"context"
	"errors"
	"fmt"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// minStepDigits is how much of a step's id names it: fewer digits could as well be
// an image's name.
const minStepDigits = 6

// StepImage makes the image that there was after the step of an earlier build whose
// id begins with ref, and gives it without a name: config and manifest are
// written, and what of its layers was never packed is packed, which is
// ErrNamespace outside of one. Of a stage's last step it is the image that the
// stage became. For what is no step's id the error is layout.ErrUnknown.
//
// The image is nobody's but the caller's: index.json doesn't know it, and clean-up
// takes its config and manifest a day later. Its layers are the cache's.
func StepImage(ctx context.Context, env Env, ref string) (layout.Image, error) {
	found, err := findSteps(env.Store.Cache(), ref)
	if err != nil {
		return layout.Image{}, err
	}
	for _, f := range found {
		if img, ok := f.final(env.Store.Layout()); ok {
			return img, nil
		}
	}
	for _, f := range found {
		img, err := f.make(ctx, env)
		if !errors.Is(err, layout.ErrAbsent) {
			return img, err
		}
	}
	return layout.Image{}, layout.ErrUnknown
}

// foundStep is a step of a kept stage.
type foundStep struct {
	stage *cache.Stage
	n     int
}

// findSteps gives the steps whose id begins so: of one id, but perhaps in several
// stages, the last used first.
func findSteps(c *cache.Cache, ref string) ([]foundStep, error) {
	digits := strings.TrimPrefix(ref, string(digest.SHA256)+":")
	if len(digits) < minStepDigits || strings.Trim(digits, "0123456789abcdef") != "" {
		return nil, layout.ErrUnknown
	}
	var found []foundStep
	for s, err := range c.StagesWith(digits) {
		if err != nil {
			return nil, err
		}
		for n, step := range s.Steps {
			// Of steps with one id the last counts: those behind the first changed nothing
			// that the history tells.
			if strings.HasPrefix(step.ID.Encoded(), digits) && (n+1 == len(s.Steps) || s.Steps[n+1].ID != step.ID) {
				found = append(found, foundStep{s, n})
			}
		}
	}
	for _, f := range found {
		if id := found[0].id(); f.id() != id {
			return nil, fault.New("give more digits", "several steps begin with %s: %s and %s", ref, stage.ShortID(id), stage.ShortID(f.id()))
		}
	}
	if len(found) == 0 {
		return nil, layout.ErrUnknown
	}
	return found, nil
}

func (f foundStep) id() digest.Digest { return f.stage.Steps[f.n].ID }

// final gives the image that a stage became, for its last step.
func (f foundStep) final(l *layout.Layout) (layout.Image, bool) {
	if f.stage.Image == "" || f.n+1 < len(f.stage.Steps) {
		return layout.Image{}, false
	}
	img, err := l.Named(f.stage.Image)
	return img, err == nil
}

// make writes the image, or gives layout.ErrAbsent where a layer is gone.
func (f foundStep) make(ctx context.Context, env Env) (layout.Image, error) {
	st, err := stateAt(f.stage, f.n)
	if err != nil {
		return layout.Image{}, err
	}
	m := &stepMaker{env: env, packer: newPacker(Options{Compression: layer.Gzip}, env)}
	defer m.packer.close(func() {})
	packings, err := m.packings(ctx, st)
	if err != nil {
		return layout.Image{}, err
	}
	img := assemble(st, packings)
	if err := env.linkChains(ctx, st, packings, img); err != nil {
		return layout.Image{}, err
	}
	l := env.Store.Layout()
	manifest, _, err := layout.WriteImage(ctx, l, img.config, img.layers, layout.FormatOCI, nil)
	if err != nil {
		return layout.Image{}, err
	}
	return l.Describe(manifest)
}

// stepMaker makes images of steps.
type stepMaker struct {
	env    Env
	packer *packer
}

// packings gives the blobs of a state's layers, and makes those that are missing.
func (m *stepMaker) packings(ctx context.Context, st *stage.State) ([]snapshot.Packing, error) {
	packings := make([]snapshot.Packing, len(st.Layers))
	for i, l := range st.Layers {
		p, ok := m.env.packed(l)
		if ok {
			packings[i] = p
			continue
		}
		if l.FromImage() || !m.env.hasTree(packedFrom(l)) {
			return nil, fmt.Errorf("%w: layer %s", layout.ErrAbsent, l.Tree)
		}
		var err error
		if packings[i], err = m.packer.pack(ctx, l, st.Layers[:i]); err != nil {
			return nil, err
		}
	}
	return packings, nil
}

// packed gives a blob of a layer, however it was packed.
func (e Env) packed(l stage.Layer) (snapshot.Packing, bool) {
	store := e.Store.Layout()
	if l.FromImage() {
		return snapshot.Packing{DiffID: l.DiffID, Blob: l.Blob}, store.HasBlob(l.Blob.Digest, l.Blob.Size)
	}
	for _, key := range []snapshot.Key{l.Tree, l.Alone} {
		rec, err := e.Store.Records().Get(key)
		if err != nil {
			continue
		}
		for _, p := range rec.Packings {
			if p.Exact == e.ExactOwners && store.HasBlob(p.Blob.Digest, p.Blob.Size) {
				return p, true
			}
		}
	}
	return snapshot.Packing{}, false
}

// hasTree says whether a layer can be packed: outside of a namespace that its tree
// is on record.
func (e Env) hasTree(tree snapshot.Key) bool {
	if e.Snapshots != nil {
		return e.Snapshots.HasTree(tree)
	}
	rec, err := e.Store.Records().Get(tree)
	return err == nil && len(rec.Trees) > 0
}
