package build

import (
	"context"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

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
		return b.fromFiles(ctx, c, s, r)
	}
	if s.Base == dockerfile.Scratch || c != nil && c.image == dockerfile.Scratch {
		st := stage.Scratch(emptyConfig(s.Platform))
		return &st, nil
	}
	find := b.base
	if b.open != nil {
		find = b.baseSoon
	}
	base, err := find(ctx, baseOf(s))
	if err != nil {
		return nil, err
	}
	if err := checkPlatform(s, base); err != nil {
		return nil, err
	}
	if tellsOfMore(base.History) {
		r.Report(stage.Warning{Step: b.at(s, -1), Text: "the history of " + s.Base + " tells of more layers than it has"})
	}
	st := base.Clone()
	setPath(st.Config)
	return &st, nil
}

// adjustBase changes the config that a stage starts with, as the command line
// wants it. A stage that is built upon another one has that from there.
func (b *build) adjustBase(s *dockerfile.Stage, st *stage.State) error {
	if s.BaseStage >= 0 {
		return nil
	}
	for _, name := range b.o.UnsetLabels {
		delete(st.Config.Config.Labels, name)
	}
	return stage.SetEnv(pairsOf(b.o.Env))(st)
}

// fromImage says whether a stage starts from an image.
func (b *build) fromImage(s *dockerfile.Stage) bool {
	c := b.named(s.Base)
	return s.BaseStage < 0 && s.Base != dockerfile.Scratch && (c == nil || c.files == nil && c.image != dockerfile.Scratch)
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
		defer r.Report(stage.Waiting{Step: at})
	}
	return f.wait(ctx)
}

// emptyConfig is what FROM scratch starts with.
func emptyConfig(p v1.Platform) *layout.ImageConfig {
	return &layout.ImageConfig{
		Architecture: p.Architecture, OS: p.OS, Variant: p.Variant,
		Config: layout.RunConfig{Env: []string{"PATH=" + stage.DefaultPath}, WorkingDir: "/"},
	}
}

// base gives the state of an image, bringing it from its registry where it
// isn't in the store. The state belongs to all who ask for it.
func (b *build) base(ctx context.Context, w wanted) (*stage.State, error) {
	f, _ := b.bringBase(w)
	return f.wait(ctx)
}

// baseSoon is base where nobody may be kept waiting for layers that are being
// fetched: then it is ErrNamespace, as for all that isn't known yet.
func (b *build) baseSoon(ctx context.Context, w wanted) (*stage.State, error) {
	f, coming := b.bringBase(w)
	select {
	case <-f.done:
		return f.value, f.err
	case <-coming.sent:
		return nil, ErrNamespace
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// bringBase begins to bring an image, and signals when layers of it have to be
// fetched.
func (b *build) bringBase(w wanted) (*future[*stage.State], *signal) {
	b.mu.Lock()
	coming, ok := b.coming[w]
	if !ok {
		coming = newSignal()
		b.coming[w] = coming
	}
	b.mu.Unlock()
	return once(b, b.bases, w, func() (*stage.State, error) {
		return b.leased(b.pulls, func() (*stage.State, error) {
			img, err := b.image(b.pulls, w, coming.send)
			if err != nil {
				return nil, err
			}
			return b.imageState(img)
		})
	}), coming
}

// leased finds the state of an image, and keeps its layers while the build goes
// on: its name may be taken away from it.
func (b *build) leased(ctx context.Context, find func() (*stage.State, error)) (st *stage.State, err error) {
	err = b.env.Store.WithBlobs(ctx, func() error {
		if st, err = find(); err != nil {
			return err
		}
		var names []digest.Digest
		for _, l := range st.Layers {
			names = append(names, l.Tree, l.Blob.Digest)
		}
		return b.lease(names...)
	})
	return st, err
}

// image gives the image that a name means: a named context goes first. coming is
// called where layers have to be fetched.
func (b *build) image(ctx context.Context, w wanted, coming func()) (layout.Image, error) {
	if c := b.named(w.name); c != nil {
		return b.namedImage(ctx, c, w, coming)
	}
	return b.storedImage(ctx, w, coming)
}

// byName writes out a name that could also be the first digits of an image's id,
// fewer than builder ever prints: what `FROM cafe` means mustn't depend on which
// images there are.
func byName(name string) string {
	const printed, digits = 12, "0123456789abcdef"
	if len(name) >= printed || strings.Trim(name, digits) != "" {
		return name
	}
	if full, err := layout.ParseName(name); err == nil {
		return full
	}
	return name
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
	st := &stage.State{Config: config, Key: img.ID, Definition: img.ID, ID: img.ID}
	for i, chain := range identity.ChainIDs(append(diffIDs[:0:0], diffIDs...)) {
		st.Layers = append(st.Layers, stage.Layer{Tree: chain, Blob: manifest.Layers[i], DiffID: diffIDs[i], Image: knownAs(img)})
		st.Tree = chain
	}
	st.History = importHistory(config)
	config.History = nil
	return st, nil
}

// knownAs is how users know an image.
func knownAs(img layout.Image) string {
	if img.Name == "" {
		return img.ID.Encoded()[:12]
	}
	return layout.Familiar(img.Name)
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
