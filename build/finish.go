package build

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// emptyTar is the diffID of a tar without entries: of a step that changed
// nothing, which gets no layer in the image.
const emptyTar = digest.Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")

// image is what finish puts together.
type image struct {
	config *layout.ImageConfig
	layers []v1.Descriptor
	trees  []snapshot.Key // whose records the image's names depend on
}

// finish gives away what the target was built for.
func (b *build) finish(ctx context.Context) (Result, error) {
	st, err := b.solved(ctx, b.target()).wait(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := b.export(ctx, st); err != nil {
		return Result{}, err
	}
	if !b.o.NoImage {
		if err := b.makeImage(ctx, st); err != nil {
			return Result{}, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.result, nil
}

// makeImage writes the target's config and manifest and names them.
func (b *build) makeImage(ctx context.Context, st *stage.State) error {
	st, err := b.squash(ctx, st)
	if err != nil {
		return err
	}
	packings, err := b.packings(ctx, st)
	if err != nil {
		return err
	}
	img := assemble(st, packings)
	b.settlePlatform(img.config)
	if err := b.adjust(img.config); err != nil {
		return err
	}
	if err := b.date(ctx, img.config, st); err != nil {
		return err
	}
	b.mu.Lock()
	b.dated = *img.config.Created
	b.mu.Unlock()
	manifest, id, err := b.writeImage(ctx, st, packings, img)
	if err != nil {
		return err
	}
	if err := b.addToManifest(ctx, manifest); err != nil {
		return err
	}
	b.r.Report(Built{ID: id})
	for _, t := range b.o.Tags {
		name, err := layout.ParseName(t)
		if err != nil {
			return err
		}
		b.r.Report(Tagged{Name: layout.Familiar(name)})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.result.ID, b.result.Manifest = id, manifest
	return nil
}

// writeImage writes config and manifest, and names them. A build that only looks up
// has leased nothing: it sees once more that all is there, and nobody prunes until the
// names lead to it.
func (b *build) writeImage(ctx context.Context, st *stage.State, packings []snapshot.Packing, img *image) (manifest v1.Descriptor, id digest.Digest, err error) {
	write := func() error {
		if err := b.env.linkChains(ctx, st, packings, img); err != nil {
			return err
		}
		l := b.env.Store.Layout()
		if manifest, id, err = layout.WriteImage(ctx, l, img.config, img.layers, b.o.Format, b.o.Annotations); err != nil {
			return err
		}
		if err := b.env.Store.Sync(ctx, img.trees); err != nil {
			return err
		}
		return l.Commit(ctx, b.o.Tags, manifest, nil)
	}
	if b.env.Snapshots != nil {
		err = write()
		return manifest, id, err
	}
	err = b.env.Store.Undisturbed(ctx, func() error {
		for _, l := range st.Layers {
			if _, known := b.packer.known(l); !known && !l.FromImage() {
				return ErrNamespace
			}
		}
		return write()
	})
	return manifest, id, err
}

// packings gives the blob of each of the state's layers, base first.
func (b *build) packings(ctx context.Context, st *stage.State) ([]snapshot.Packing, error) {
	if b.env.Snapshots != nil {
		b.r.Report(Packing{Layers: len(st.Layers)})
		if err := b.bringTrees(ctx, st); err != nil {
			return nil, err
		}
	}
	packings := make([]snapshot.Packing, len(st.Layers))
	jobs := make([]*future[snapshot.Packing], len(st.Layers))
	for i, l := range st.Layers {
		switch {
		case !l.FromImage():
			jobs[i] = b.packer.start(ctx, st.Layers[:i+1])
		case b.o.ForceCompression:
			jobs[i] = b.packer.job(l.Tree, func() (snapshot.Packing, error) { return b.packer.recompress(ctx, l) })
		default:
			packings[i] = snapshot.Packing{DiffID: l.DiffID, Blob: l.Blob}
		}
	}
	for i, f := range jobs {
		if f == nil {
			continue
		}
		var err error
		if packings[i], err = f.wait(ctx); err != nil {
			return nil, err
		}
	}
	return packings, nil
}

// bringTrees makes the trees of layers that have to be packed in another way
// than before, and of which only a blob is left.
func (b *build) bringTrees(ctx context.Context, st *stage.State) error {
	for _, l := range st.Layers {
		if l.FromImage() || b.env.Snapshots.HasTree(packedFrom(l)) {
			continue
		}
		if _, ok := b.packer.known(l); ok {
			continue
		}
		if l.Alone == "" {
			if err := b.runner.EnsureTree(ctx, st); err != nil {
				return err
			}
			continue
		}
		if err := b.runner.EnsureTree(ctx, &stage.State{Tree: l.Alone, Layers: []stage.Layer{{Tree: l.Alone}}}); err != nil {
			return err
		}
	}
	return nil
}

// assemble gives the config its layers and history. Steps that changed nothing
// stand in the history alone.
func assemble(st *stage.State, packings []snapshot.Packing) *image {
	img := &image{config: st.Config.Clone()}
	img.config.RootFS.DiffIDs = nil
	empty := map[int]bool{}
	for i, p := range packings {
		if !st.Layers[i].FromImage() && p.DiffID == emptyTar {
			empty[i] = true
			continue
		}
		img.config.RootFS.DiffIDs = append(img.config.RootFS.DiffIDs, p.DiffID)
		img.layers = append(img.layers, p.Blob)
	}
	for _, h := range st.History {
		h.EmptyLayer = h.Layer < 0 || empty[h.Layer]
		img.config.History = append(img.config.History, h.History)
	}
	return img
}

// adjust adds the command line's labels, and takes the variables that it takes.
func (b *build) adjust(config *layout.ImageConfig) error {
	config.Config.Env = slices.DeleteFunc(config.Config.Env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(b.o.UnsetEnv, name)
	})
	if len(b.o.Labels) == 0 {
		return nil
	}
	return stage.SetLabels(pairsOf(b.o.Labels))(&stage.State{Config: config})
}

// pairsOf reads NAME=VALUE; a name alone has an empty value.
func pairsOf(texts []string) []stage.Pair {
	pairs := make([]stage.Pair, len(texts))
	for i, text := range texts {
		pairs[i].Name, pairs[i].Value, _ = strings.Cut(text, "=")
	}
	return pairs
}

// date gives the image its times. Without an epoch it was created when this
// config was first built: a build that finds everything known repeats it, and
// so ends with the same id.
func (b *build) date(ctx context.Context, config *layout.ImageConfig, st *stage.State) error {
	var created time.Time
	if b.o.Epoch != nil {
		created = b.o.Epoch.UTC()
	} else {
		var err error
		if created, err = b.firstBuilt(ctx, config); err != nil {
			return err
		}
	}
	config.Created = &created
	for i := range config.History {
		h := &config.History[i]
		if st.History[i].Own && (h.Created == nil || b.o.Epoch != nil) {
			h.Created = &created
		}
	}
	return nil
}

// firstBuilt looks up when a config without times was first built here, and
// notes it. Of builds that make it at once one is the first.
func (b *build) firstBuilt(ctx context.Context, config *layout.ImageConfig) (time.Time, error) {
	undated := config.Clone()
	undated.Created = nil
	text, err := json.Marshal(struct {
		Config *layout.ImageConfig
		Format layout.Format
	}{undated, b.o.Format})
	if err != nil {
		return time.Time{}, err
	}
	key := digest.FromBytes(text)
	c := b.env.Store.Cache()
	if b.o.NoCache {
		return noteFirst(c, key)
	}
	if step, err := c.Step(key); err == nil {
		c.Used(key)
		return step.Created, nil
	}
	unlock, err := c.LockStep(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	defer unlock()
	if step, err := c.Step(key); err == nil {
		return step.Created, nil
	}
	return noteFirst(c, key)
}

func noteFirst(c *cache.Cache, key digest.Digest) (time.Time, error) {
	now := time.Now().UTC()
	return now, c.PutStep(&cache.Step{Key: key, Kind: "image", Created: now}, nil)
}

// linkChains records that the image's chain IDs name the trees that the steps
// have made, so that what uses the image never unpacks them.
func (e Env) linkChains(ctx context.Context, st *stage.State, packings []snapshot.Packing, img *image) error {
	if len(img.config.RootFS.DiffIDs) == 0 {
		return nil
	}
	chains := identity.ChainIDs(append([]digest.Digest(nil), img.config.RootFS.DiffIDs...))
	n := 0
	for i, l := range st.Layers {
		own := !l.FromImage()
		if own {
			img.trees = append(img.trees, l.Tree)
		}
		if own && packings[i].DiffID == emptyTar {
			continue
		}
		if own {
			if err := e.Store.Lease(ctx, chains[n]); err != nil {
				return err
			}
			if err := e.Store.Records().LinkChain(chains[n], l.Tree); err != nil {
				return err
			}
			img.trees = append(img.trees, chains[n])
		}
		n++
	}
	return nil
}
