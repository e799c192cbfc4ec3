package build

import (
	"context"
	"fmt"
	"io"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Squash says which layers become one.
type Squash int

// The choices: none, those that the build adds (as docker and buildah have it),
// or all, the base image's too (buildah's --squash-all).
const (
	SquashNone Squash = iota
	SquashNew
	SquashAll
)

// squashRules changes whenever the same layers may give another one.
const squashRules = "1"

// squash gives the state with one layer in place of several, packed. The steps'
// own layers stay what they are in the cache. The history keeps the entries of
// all instructions, without layers, and tells of the one layer behind them.
func (b *build) squash(ctx context.Context, st *stage.State) (*stage.State, error) {
	from := len(st.Layers)
	switch b.o.Squash {
	case SquashNone:
		return st, nil
	case SquashAll:
		from = 0
	default:
		for from > 0 && !st.Layers[from-1].FromImage() {
			from--
		}
	}
	if from == len(st.Layers) {
		return st, nil
	}
	one := stage.Layer{Tree: b.squashKey(st, from)}
	_, err := b.packer.job(one.Tree, func() (snapshot.Packing, error) {
		return b.packSquashed(ctx, st, from, one.Tree)
	}).wait(ctx)
	if err != nil {
		return nil, err
	}
	next := st.Clone()
	next.Layers = append(next.Layers[:from:from], one)
	for i, h := range next.History {
		if h.Layer >= from {
			next.History[i].Layer = -1
		}
	}
	next.History = append(next.History, stage.History{
		History: v1.History{Comment: squashComment(st, from)}, Layer: from, Own: true,
	})
	return &next, nil
}

// squashComment tells, much as docker does, what was merged into what.
func squashComment(st *stage.State, from int) string {
	if from == 0 {
		return fmt.Sprintf("create new from %d layers", len(st.Layers))
	}
	return fmt.Sprintf("merge %d layers to %s", len(st.Layers)-from, st.Layers[from-1].Tree)
}

// squashKey names the layer that the state's layers make from one of them on.
func (b *build) squashKey(st *stage.State, from int) snapshot.Key {
	text := "squash " + squashRules
	if from > 0 {
		text += fmt.Sprintf("\nbase %s", st.Layers[from-1].Tree)
	}
	for i, l := range st.Layers[from:] {
		time := b.packer.want(l.Written).Time
		if l.FromImage() {
			time = layer.TimeRule{}
		}
		text += fmt.Sprintf("\n%d %s %s %v %d", i, l.Tree, l.Alone, time.Mode, time.Epoch)
	}
	return digest.FromString(text)
}

// packSquashed makes the blob.
func (b *build) packSquashed(ctx context.Context, st *stage.State, from int, key snapshot.Key) (snapshot.Packing, error) {
	if found, ok := b.packer.known(stage.Layer{Tree: key}); ok {
		return found, nil
	}
	if b.env.Snapshots == nil {
		return snapshot.Packing{}, ErrNamespace
	}
	parts, base, top, err := b.squashParts(ctx, st, from)
	if err != nil {
		return snapshot.Packing{}, err
	}
	session, err := b.env.Store.Session()
	if err != nil {
		return snapshot.Packing{}, err
	}
	aside, err := session.TempDir()
	if err != nil {
		return snapshot.Packing{}, err
	}
	src := layer.Squash(parts, base, top, aside)
	// The times are settled; the rule only stands in the record.
	want := b.packer.want(false)
	return b.packer.write(key, want, func(w io.Writer) (layer.Packed, error) {
		return layer.Pack(ctx, src, w, layer.PackOptions{Compression: want.Compression, Level: want.Level})
	})
}

// squashParts gives the layers and the trees below and above them.
func (b *build) squashParts(ctx context.Context, st *stage.State, from int) (parts []layer.Part, base, top *layer.Tree, err error) {
	for i := from; i < len(st.Layers); i++ {
		p, err := b.squashPart(ctx, st.Layers[:i+1])
		if err != nil {
			return nil, nil, nil, err
		}
		parts = append(parts, p)
	}
	if base, err = b.treeOf(ctx, st.Layers[:from]); err != nil {
		return nil, nil, nil, err
	}
	top, err = b.treeOf(ctx, st.Layers)
	return parts, base, top, err
}

// squashPart is the last of the layers.
func (b *build) squashPart(ctx context.Context, layers []stage.Layer) (p layer.Part, err error) {
	l, below := layers[len(layers)-1], layers[:len(layers)-1]
	if !l.FromImage() {
		p.Time = b.packer.want(l.Written).Time
	}
	if p.Time.Mode == layer.TimeClamp {
		if p.Foreign, err = b.packer.foreign(ctx, below); err != nil {
			return p, err
		}
	}
	if l.Alone != "" {
		layers = []stage.Layer{{Tree: l.Alone, Written: l.Written}}
	}
	if _, err := b.treeOf(ctx, layers); err != nil {
		return p, err
	}
	p.Source, err = b.env.Snapshots.Changes(packedFrom(l))
	return p, err
}

// treeOf gives the tree that layers make, and makes it where it isn't there.
func (b *build) treeOf(ctx context.Context, layers []stage.Layer) (*layer.Tree, error) {
	if len(layers) == 0 {
		return layer.NewTree(nil), nil
	}
	tree := layers[len(layers)-1].Tree
	if err := b.runner.EnsureTree(ctx, &stage.State{Tree: tree, Layers: layers}); err != nil {
		return nil, err
	}
	return b.env.Snapshots.Tree(tree)
}
