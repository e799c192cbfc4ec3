package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/image-spec/identity"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
)

// from gives the state that a stage starts with. The caller owns it.
func (b *build) from(ctx context.Context, s *dockerfile.Stage, r *stage.Runner) (*stage.State, error) {
	if s.BaseStage >= 0 {
		return b.fromStage(ctx, b.file.Stages[s.BaseStage], r, b.at(s, -1))
	}
	c := b.named(s.Base)
	if c != nil && c.files != nil {
		return b.fromFiles(ctx, c, r, b.at(s, -1))
	}
	if s.Base == dockerfile.Scratch || c != nil && c.image == dockerfile.Scratch {
		st := stage.Scratch(emptyConfig())
		return &st, nil
	}
	base, err := b.base(ctx, s.Base)
	if err != nil {
		return nil, err
	}
	if err := checkArchitecture(s.Base, base.Config); err != nil {
		return nil, err
	}
	if tellsOfMore(base.History) {
		r.Report(stage.Warning{Step: b.at(s, -1), Text: "the history of " + s.Base + " tells of more layers than it has"})
	}
	st := base.Clone()
	setPath(st.Config)
	return &st, nil
}

// checkArchitecture refuses an image whose programs can't run here.
func checkArchitecture(name string, config *layout.ImageConfig) error {
	this := platform()
	if (config.Architecture == "" || config.Architecture == this.Architecture) && (config.OS == "" || config.OS == this.OS) {
		return nil
	}
	return fault.New(fmt.Sprintf("pull the one for this machine: builder pull --platform %s/%s %s", this.OS, this.Architecture, name),
		"%s is an image for %s/%s, and this machine is %s/%s: to build for another platform is not supported yet",
		name, config.OS, config.Architecture, this.OS, this.Architecture)
}

// setPath gives an image that sets no PATH the usual one, as BuildKit does: so
// its instructions can add to it, and what is built upon it has it.
func setPath(config *layout.ImageConfig) {
	isPath := func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }
	if !slices.ContainsFunc(config.Config.Env, isPath) {
		config.Config.Env = append(config.Config.Env, "PATH="+stage.DefaultPath)
	}
}

func (b *build) fromStage(ctx context.Context, s *dockerfile.Stage, r *stage.Runner, at stage.Step) (*stage.State, error) {
	var st *stage.State
	var err error
	if r.DefinesOnly() {
		st, err = b.defined(ctx, s)
	} else {
		st, err = b.waitFor(ctx, s, r, at)
	}
	if err != nil {
		return nil, err
	}
	next := st.Descend()
	return &next, nil
}

// waitFor gives the state at the end of a stage that a step needs, and tells
// where it isn't there yet.
func (b *build) waitFor(ctx context.Context, s *dockerfile.Stage, r *stage.Runner, at stage.Step) (*stage.State, error) {
	f := b.solved(ctx, s)
	if !f.succeeded() {
		r.Report(stage.Waiting{Step: at, For: stageName(s)})
	}
	return f.wait(ctx)
}

// emptyConfig is what FROM scratch starts with.
func emptyConfig() *layout.ImageConfig {
	p := platform()
	return &layout.ImageConfig{
		Architecture: p.Architecture, OS: p.OS,
		Config: layout.RunConfig{Env: []string{"PATH=" + stage.DefaultPath}, WorkingDir: "/"},
	}
}

// base gives the state of an image, bringing it from its registry where it
// isn't in the store. The state belongs to all who ask for it.
func (b *build) base(ctx context.Context, name string) (*stage.State, error) {
	return once(b, b.bases, name, func() (*stage.State, error) {
		img, err := b.image(ctx, name)
		if err != nil {
			return nil, err
		}
		return b.imageState(img)
	}).wait(ctx)
}

// image gives the image that a name means: a named context goes first.
func (b *build) image(ctx context.Context, name string) (layout.Image, error) {
	if c := b.named(name); c != nil {
		return b.namedImage(ctx, c)
	}
	return b.storedImage(ctx, name)
}

func (b *build) storedImage(ctx context.Context, name string) (layout.Image, error) {
	l := b.env.Store.Layout()
	if !b.o.Pull {
		img, err := l.Find(name)
		if err == nil {
			if _, err = l.Config(img); err == nil {
				return img, nil
			}
		}
		if !errors.Is(err, layout.ErrUnknown) && !errors.Is(err, layout.ErrAbsent) {
			return img, err
		}
	}
	if b.env.Pull == nil {
		return layout.Image{}, ErrNamespace
	}
	return b.env.Pull(ctx, name)
}

// imageState turns an image's config and layers into the state after FROM.
func (b *build) imageState(img layout.Image) (*stage.State, error) {
	l := b.env.Store.Layout()
	config, err := l.Config(img)
	if err != nil {
		return nil, err
	}
	manifest, err := l.Manifest(img)
	if err != nil {
		return nil, err
	}
	diffIDs := config.RootFS.DiffIDs
	if len(manifest.Layers) != len(diffIDs) {
		return nil, fault.New("pull the image again, or choose another",
			"the image's manifest has %d layers, its config %d", len(manifest.Layers), len(diffIDs))
	}
	st := &stage.State{Config: config, Key: img.ID, Definition: img.ID, ID: img.ID.Encoded()[:12]}
	for i, chain := range identity.ChainIDs(append(diffIDs[:0:0], diffIDs...)) {
		st.Layers = append(st.Layers, stage.Layer{Tree: chain, Blob: manifest.Layers[i], DiffID: diffIDs[i]})
		st.Tree = chain
	}
	st.History = importHistory(config)
	config.History = nil
	return st, nil
}

// importHistory takes over a base image's history. An image without one has
// layers all the same; where it tells of more layers than there are, the last
// ones count as empty, as in BuildKit.
func importHistory(config *layout.ImageConfig) []stage.History {
	layers := len(config.RootFS.DiffIDs)
	var history []stage.History
	n := 0
	for _, h := range config.History {
		entry := stage.History{History: h, Layer: -1}
		if !h.EmptyLayer && n < layers {
			entry.Layer = n
			n++
		}
		history = append(history, entry)
	}
	return history
}

// tellsOfMore says whether the history of a base tells of layers that it lacks.
func tellsOfMore(history []stage.History) bool {
	return slices.ContainsFunc(history, func(h stage.History) bool { return h.Layer < 0 && !h.EmptyLayer })
}
