package build

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"sync"

	"github.com/builder-oci/builder/internal/room"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// packer makes the blobs of the target's layers, while the steps that follow
// are executed.
type packer struct {
	o     Options
	env   Env
	slots chan struct{}

	mu   sync.Mutex
	jobs map[snapshot.Key]*future[snapshot.Packing]

	timesMu sync.Mutex
	times   map[snapshot.Key]*layer.Times // of a written layer and those below it
}

func newPacker(o Options, env Env) *packer {
	return &packer{
		o: o, env: env,
		slots: make(chan struct{}, runtime.GOMAXPROCS(0)),
		jobs:  map[snapshot.Key]*future[snapshot.Packing]{},
		times: map[snapshot.Key]*layer.Times{},
	}
}

// want describes the packing that this build asks for.
func (p *packer) want(written bool) snapshot.Packing {
	level := p.o.Level
	if level == 0 {
		level = layer.DefaultLevel(p.o.Compression)
	}
	return snapshot.Packing{
		Time:        p.timeRule(written),
		Compression: p.o.Compression,
		Level:       level,
		Packer:      layer.PackerVersion,
		Exact:       p.env.ExactOwners,
	}
}

// timeRule chooses the times in a layer. What builder wrote itself bears the
// times of somebody's checkout, which say nothing: an epoch replaces them all.
// A command's older times are its result, and stay, but for those that it has
// only kept.
func (p *packer) timeRule(written bool) layer.TimeRule {
	switch {
	case p.o.Epoch == nil || p.o.RewriteTimes != nil && !*p.o.RewriteTimes:
		return layer.TimeRule{}
	case written:
		return layer.TimeRule{Mode: layer.TimeExact, Epoch: p.o.Epoch.Unix()}
	default:
		return layer.TimeRule{Mode: layer.TimeClamp, Epoch: p.o.Epoch.Unix()}
	}
}

// start packs the last of the layers in the background, if it isn't packed.
func (p *packer) start(ctx context.Context, layers []stage.Layer) *future[snapshot.Packing] {
	l, below := layers[len(layers)-1], layers[:len(layers)-1]
	return p.job(l.Tree, func() (snapshot.Packing, error) { return p.pack(ctx, l, below) })
}

// job does what makes the blob of a layer, once.
func (p *packer) job(key snapshot.Key, work func() (snapshot.Packing, error)) *future[snapshot.Packing] {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.jobs[key]
	if !ok {
		f = start(work)
		p.jobs[key] = f
	}
	return f
}

// slot waits until one of the cores is free, and gives what frees it again.
func (p *packer) slot(ctx context.Context) (free func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// startEarly is start where the layer's tree is there. Whether one has to be
// made, because only a blob in another form is left, is seen at the end.
func (p *packer) startEarly(ctx context.Context, layers []stage.Layer) {
	if p.env.Snapshots.HasTree(packedFrom(layers[len(layers)-1])) {
		p.start(ctx, layers)
	}
}

// packedFrom is the tree that a layer is packed from.
func packedFrom(l stage.Layer) snapshot.Key {
	if l.Alone != "" {
		return l.Alone
	}
	return l.Tree
}

// known gives a layer's packing if there is one whose blob is in the layout.
func (p *packer) known(l stage.Layer) (snapshot.Packing, bool) {
	found, ok := p.env.Store.Records().Packing(l.Tree, p.want(l.Written))
	return found, ok && p.env.Store.Layout().HasBlob(found.Blob.Digest, found.Blob.Size)
}

func (p *packer) pack(ctx context.Context, l stage.Layer, below []stage.Layer) (snapshot.Packing, error) {
	if found, ok := p.known(l); ok {
		return found, nil
	}
	if p.env.Snapshots == nil {
		return snapshot.Packing{}, ErrNamespace
	}
	if l.Alone != "" {
		packed, err := p.pack(ctx, stage.Layer{Tree: l.Alone, Written: l.Written}, nil)
		if err != nil {
			return packed, err
		}
		return packed, p.env.Store.Records().AddPacking(l.Tree, packed)
	}
	free, err := p.slot(ctx)
	if err != nil {
		return snapshot.Packing{}, err
	}
	defer free()
	src, err := p.env.Snapshots.Changes(l.Tree)
	if err != nil {
		return snapshot.Packing{}, err
	}
	want := p.want(l.Written)
	var foreign *layer.Times
	if want.Time.Mode == layer.TimeClamp {
		if foreign, err = p.foreign(ctx, below); err != nil {
			return snapshot.Packing{}, err
		}
	}
	if err := p.hasRoom(ctx, src); err != nil {
		return snapshot.Packing{}, err
	}
	return p.write(l.Tree, want, func(w io.Writer) (layer.Packed, error) {
		return layer.Pack(ctx, src, w, packOptions(want, foreign))
	})
}

// hasRoom is an error where a layer's blob won't fit on the disk. It takes a walk over
// what stands in the layer, and so isn't asked where there is room in plenty.
func (p *packer) hasRoom(ctx context.Context, src layer.Source) error {
	dir := p.env.Store.Layout().BlobsDir()
	free, err := room.Free(dir)
	if err != nil || free >= room.Plenty {
		return nil //nolint:nilerr // writing will show it
	}
	need, err := layer.Estimate(ctx, src, p.o.Compression)
	if err != nil {
		return err
	}
	return room.For(dir, need-need/10)
}

func packOptions(want snapshot.Packing, foreign *layer.Times) layer.PackOptions {
	return layer.PackOptions{Compression: want.Compression, Level: want.Level, Time: want.Time, Foreign: foreign}
}

// foreign gives the times that written layers have brought into the tree of a
// command, which may have moved or copied what bears them. They are some
// checkout's wherever they stand. The record of a packing needn't name them: a
// command's result stands on these layers and no others.
func (p *packer) foreign(ctx context.Context, below []stage.Layer) (*layer.Times, error) {
	p.timesMu.Lock()
	defer p.timesMu.Unlock()
	var times *layer.Times
	for _, l := range below {
		if !l.Written {
			continue
		}
		known, ok := p.times[l.Tree]
		if !ok {
			src, err := p.env.Snapshots.Changes(l.Tree)
			if errors.Is(err, snapshot.ErrNotFound) {
				// Only a full copy outlives the tree that it was copied from.
				continue
			}
			if err != nil {
				return nil, err
			}
			if known, err = layer.GatherTimes(ctx, src, times, p.env.Store.Records().Dir()); err != nil {
				return nil, err
			}
			p.times[l.Tree] = known
		}
		times = known
	}
	return times, nil
}

// direct packs a layer whose tree is never made, from the entries themselves.
func (p *packer) direct(ctx context.Context, tree snapshot.Key, written bool, src layer.Source) error {
	if err := p.hasRoom(ctx, src); err != nil {
		return err
	}
	want := p.want(written)
	_, err := p.write(tree, want, func(w io.Writer) (layer.Packed, error) {
		return layer.Pack(ctx, src, w, packOptions(want, nil))
	})
	return err
}

// write puts a blob into the layout and notes it with a tree.
func (p *packer) write(tree snapshot.Key, want snapshot.Packing, fill func(io.Writer) (layer.Packed, error)) (snapshot.Packing, error) {
	session, err := p.env.Store.Session()
	if err != nil {
		return want, err
	}
	w, err := p.env.Store.Layout().NewBlobWriter(session.ID)
	if err != nil {
		return want, err
	}
	defer func() { _ = w.Cancel() }()
	packed, err := fill(w)
	if err != nil {
		return want, err
	}
	if err := w.Commit(packed.Blob.Digest); err != nil {
		return want, err
	}
	want.DiffID, want.Blob = packed.DiffID, packed.Blob
	want.Blob.Annotations = map[string]string{layout.UncompressedSize: strconv.FormatInt(packed.TarSize, 10)}
	return want, p.env.Store.Records().AddPacking(tree, want)
}

// close waits for what is still being packed, after cancel told it to end.
func (p *packer) close(cancel context.CancelFunc) {
	cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.jobs {
		<-f.done
	}
}
