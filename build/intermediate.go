package build

import (
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Intermediates gives the images that builds went through: one for each
// instruction of the stage that became one of images, but for the last, and each
// once. Their ids are the steps'. Those of which something is gone are left out;
// and their sizes are as far as they are known. Of one image the latest come first.
func Intermediates(env Env, images []layout.Image) ([]layout.Image, error) {
	here := map[digest.Digest]bool{}
	for _, img := range images {
		here[img.ID] = true
	}
	s := newSurveyor(env)
	var all []layout.Image
	for kept, err := range env.Store.Cache().Stages() {
		if err != nil {
			return nil, err
		}
		if !here[kept.Image] || len(kept.Steps) == 0 {
			continue
		}
		found, err := s.stage(kept)
		if err != nil {
			return nil, err
		}
		slices.Reverse(found)
		all = append(all, found...)
	}
	return all, nil
}

// HistoryIDs gives the ids of the images that there were on the way to an image, and
// that can still be had, by the place in its history of the last line that each of
// them has: of steps, and of the base image.
func HistoryIDs(env Env, image digest.Digest) (map[int]digest.Digest, error) {
	for kept, err := range env.Store.Cache().StagesOf(image) {
		if err != nil {
			return nil, err
		}
		return newSurveyor(env).lines(kept)
	}
	return nil, nil
}

// lines gives the ids of HistoryIDs for the image that a stage became.
func (s *surveyor) lines(kept *cache.Stage) (map[int]digest.Digest, error) {
	ids := map[int]digest.Digest{}
	last := len(kept.History) - 1
	if base, err := s.env.Store.Layout().Named(kept.Base); err == nil && last >= 0 {
		ids[last] = base.ID
	}
	for n, step := range kept.Steps[:max(0, len(kept.Steps)-1)] {
		if step.History == nil {
			continue
		}
		last++
		st, err := stateAt(kept, n)
		if err != nil {
			return nil, err
		}
		if _, usable := s.size(st); usable {
			ids[last] = step.ID
		}
	}
	return ids, nil
}

// surveyor looks at kept stages, and at each layer once.
type surveyor struct {
	env    Env
	layers map[snapshot.Key]surveyed
	seen   map[digest.Digest]bool
}

func newSurveyor(env Env) *surveyor {
	return &surveyor{env: env, layers: map[snapshot.Key]surveyed{}, seen: map[digest.Digest]bool{}}
}

type surveyed struct {
	size   int64
	usable bool
}

// stage gives the intermediate images of a stage: all steps but the last, which is
// the image itself.
func (s *surveyor) stage(kept *cache.Stage) ([]layout.Image, error) {
	var found []layout.Image
	last := kept.Steps[len(kept.Steps)-1].ID
	for n, step := range kept.Steps[:len(kept.Steps)-1] {
		if step.ID == last || step.ID == kept.Base || step.ID == kept.Steps[n+1].ID || s.seen[step.ID] {
			continue // it changed nothing that the history tells, or is known
		}
		st, err := stateAt(kept, n)
		if err != nil {
			return nil, err
		}
		size, usable := s.size(st)
		if !usable {
			break
		}
		s.seen[step.ID] = true
		found = append(found, layout.Unwritten(step.ID, step.Created, size, st.Config))
	}
	return found, nil
}

// size sums up layers, and says whether all of them can still be had.
func (s *surveyor) size(st *stage.State) (sum int64, usable bool) {
	for _, l := range st.Layers {
		known, ok := s.layers[l.Tree]
		if !ok {
			known = s.look(l)
			s.layers[l.Tree] = known
		}
		if !known.usable {
			return 0, false
		}
		sum += known.size
	}
	return sum, true
}

func (s *surveyor) look(l stage.Layer) surveyed {
	p, ok := s.env.packed(l)
	switch {
	case !ok:
		return surveyed{usable: !l.FromImage() && s.env.hasTree(packedFrom(l))}
	case p.DiffID == emptyTar:
		return surveyed{usable: true}
	}
	return surveyed{size: s.env.Store.Layout().UnpackedSize(p.Blob), usable: true}
}
