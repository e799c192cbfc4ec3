package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// pushing is one push to a repository of a registry.
type pushing struct {
	*remote
	retrying
	options   Options
	layout    *layout.Layout
	dest      types.ImageDestination
	elsewhere map[digest.Digest][]string // other repositories that have had a blob

	mu   sync.Mutex
	sent map[digest.Digest]v1.Descriptor // what each blob became there
}

// pushRegistry pushes an image, or the whole of the index that it is of, where
// all of that is here and no platform was asked for.
func (o Options) pushRegistry(ctx context.Context, img layout.Image, r *remote) (v1.Descriptor, error) {
	target, err := o.pushed(img)
	if err != nil {
		return v1.Descriptor{}, err
	}
	_, want, digested := strings.Cut(r.name, "@")
	if digested && (want != target.Digest.String() || o.changes()) {
		return v1.Descriptor{}, fault.New("push to a tag, or to @"+target.Digest.String(), "%s is the digest of another image", layout.Familiar(r.name))
	}
	p := &pushing{
		remote: r, retrying: o.retrying(o.reporter()), options: o, layout: o.layout(), sent: map[digest.Digest]v1.Descriptor{},
		elsewhere: o.known().repositories(r.domain, repository(r.name)),
	}
	if p.dest, err = r.ref.NewImageDestination(ctx, r.sys); err != nil {
		return v1.Descriptor{}, o.explain(err, r)
	}
	defer p.dest.Close()
	d, err := p.manifest(ctx, target, true)
	return d, o.explain(err, r)
}

func (o Options) known() known { return known{o.Known} }

// pushed is what a push of an image takes: the index that it is of, if all of
// that is here and nobody has asked for one platform of it.
func (o Options) pushed(img layout.Image) (v1.Descriptor, error) {
	target := img.Target()
	if !layout.IsIndex(target.MediaType) || o.Platform != "" {
		return img.Manifest, nil
	}
	whole, err := o.Layout.HasAll(target)
	switch {
	case err != nil || whole || o.All || img.Index == nil:
		return target, err
	}
	return img.Manifest, nil
}

// manifest pushes what a manifest or an index leads to, and then itself: under
// the name if it is the top, else by its digest.
func (p *pushing) manifest(ctx context.Context, d v1.Descriptor, top bool) (v1.Descriptor, error) {
	raw, err := p.layout.ReadBlob(d.Digest)
	if err != nil {
		return d, err
	}
	var changed []byte
	if layout.IsIndex(d.MediaType) {
		changed, err = p.index(ctx, raw, &d)
	} else {
		changed, err = p.image(ctx, raw, &d)
	}
	if err != nil {
		return d, err
	}
	if changed != nil {
		raw = changed
		d.Digest, d.Size = digest.FromBytes(raw), int64(len(raw))
	}
	instance := &d.Digest
	if top {
		instance = nil
	}
	return d, p.do(ctx, func() error {
		return p.watched(ctx, func(ctx context.Context, w *watch) error {
			w.sends()
			return p.dest.PutManifest(ctx, raw, instance)
		})
	})
}

// index pushes the images of an index, one after the other: the layers of each go
// side by side. It gives the index's new bytes where one of them has changed.
func (p *pushing) index(ctx context.Context, raw []byte, d *v1.Descriptor) ([]byte, error) {
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	changed := false
	for i, child := range index.Manifests {
		now, err := p.manifest(ctx, child, false)
		if err != nil {
			return nil, err
		}
		if p.options.Arrived != nil {
			p.options.Arrived(now)
		}
		changed = changed || now.Digest != child.Digest || now.MediaType != child.MediaType
		index.Manifests[i] = now
	}
	want := indexType(p.options.Format, d.MediaType)
	if !changed && want == d.MediaType {
		return nil, nil
	}
	d.MediaType, index.MediaType = want, want
	return json.Marshal(index)
}

// sending is an image on its way.
type sending struct {
	v1.Manifest
	digest digest.Digest // the manifest's, here
}

// image pushes config and layers. It gives the manifest's new bytes where it has
// to change.
func (p *pushing) image(ctx context.Context, raw []byte, d *v1.Descriptor) ([]byte, error) {
	m := sending{digest: d.Digest}
	if err := json.Unmarshal(raw, &m.Manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if err := p.options.possible(&m.Manifest); err != nil {
		return nil, err
	}
	if err := p.blobs(ctx, &m); err != nil {
		return nil, err
	}
	changed := p.options.Format != "" && formatOf(d.MediaType) != p.options.Format
	for i, l := range m.Layers {
		if now := p.sent[l.Digest]; now.Digest != "" && now.Digest != l.Digest {
			m.Layers[i].MediaType, m.Layers[i].Digest, m.Layers[i].Size = now.MediaType, now.Digest, now.Size
			changed = true
		}
	}
	if !changed {
		return nil, nil
	}
	format := p.options.Format
	if format == "" {
		format = formatOf(d.MediaType)
	}
	converted, err := layout.ConvertManifest(&m.Manifest, format)
	if err != nil {
		return nil, err
	}
	d.MediaType = converted.MediaType
	return json.Marshal(converted)
}

// blobs pushes config and layers side by side, and remembers where they are now.
func (p *pushing) blobs(ctx context.Context, m *sending) error {
	todo := p.todo(m)
	for i, d := range todo {
		p.say(m, Event{Kind: Started, Digest: d.Digest, Size: d.Size})
		if i >= blobsAtOnce {
			p.say(m, Event{Kind: Waiting, Digest: d.Digest, Size: d.Size})
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for _, d := range todo {
		group.Go(func() error {
			err := p.do(groupCtx, func() error { return p.blob(groupCtx, m, d) })
			if err != nil {
				return fmt.Errorf("blob %s: %w", d.Digest, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	there := make([]digest.Digest, 0, len(m.Layers)+1)
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if now, ok := p.sent[d.Digest]; ok {
			there = append(there, now.Digest)
		}
	}
	return p.options.known().add(p.domain, repository(p.name), there)
}

// todo is what has to go, each once: not what was pushed with another image of the
// same index, nor layers that only their vendor may distribute.
func (p *pushing) todo(m *sending) []v1.Descriptor {
	var todo []v1.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range append(m.Layers[:len(m.Layers):len(m.Layers)], m.Config) {
		if _, done := p.sent[d.Digest]; !done && !seen[d.Digest] && len(d.URLs) == 0 {
			todo = append(todo, d)
		}
		seen[d.Digest] = true
	}
	return todo
}

// blob brings one blob there: it is there already, or is mounted, or sent.
func (p *pushing) blob(ctx context.Context, m *sending, d v1.Descriptor) error {
	if d.Digest != m.Config.Digest && p.options.recompresses(d) {
		now, err := p.recompress(ctx, m, d)
		p.is(d, now, err)
		return err
	}
	from, there, err := p.reuse(ctx, d)
	switch {
	case err != nil:
		return err
	case there && from != "":
		p.say(m, Event{Kind: Mounted, Digest: d.Digest, Size: d.Size, Offset: d.Size, From: from})
	case there:
		p.say(m, Event{Kind: Exists, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	default:
		err = p.send(ctx, m, d)
	}
	p.is(d, d, err)
	return err
}

// is notes what a blob became, unless that failed.
func (p *pushing) is(d, now v1.Descriptor, err error) {
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[d.Digest] = now
}

// say reports what happens to layers: of the config users don't think.
func (p *pushing) say(m *sending, e Event) {
	if e.Digest != m.Config.Digest {
		p.tell(e)
	}
}

// reuse looks whether the repository has a blob, or lets the registry mount it
// from another one.
func (p *pushing) reuse(ctx context.Context, d v1.Descriptor) (from string, there bool, err error) {
	info := types.BlobInfo{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
	ask := func(cache types.BlobInfoCache) error {
		return p.watched(ctx, func(ctx context.Context, _ *watch) (err error) {
			there, _, err = p.dest.TryReusingBlob(ctx, info, cache, false)
			return err
		})
	}
	if err = ask(none.NoCache); err != nil || there {
		return "", there, err
	}
	for _, other := range p.elsewhere[d.Digest] {
		if err = ask(mountFrom(p.domain, other, d.Digest)); err != nil || there {
			return other, there, err
		}
	}
	return "", false, nil
}

// send sends a blob as it is.
func (p *pushing) send(ctx context.Context, m *sending, d v1.Descriptor) error {
	f, err := p.open(ctx, m, d)
	if err != nil {
		return err
	}
	defer f.Close()
	r := p.reporter
	if d.Digest == m.Config.Digest {
		r = &reporter{}
	}
	info := types.BlobInfo{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}
	if _, err := p.put(ctx, &progressReader{reporter: r, from: f, blob: d}, info); err != nil {
		return err
	}
	r.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return nil
}

// put sends bytes as a blob, as long as the registry takes some of them now and
// then.
func (p *pushing) put(ctx context.Context, from io.Reader, info types.BlobInfo) (sent types.BlobInfo, err error) {
	err = p.watched(ctx, func(ctx context.Context, w *watch) error {
		uploaded, err := p.dest.PutBlob(ctx, &pacedReader{from, w}, info, none.NoCache, false)
		sent = types.BlobInfo{Digest: uploaded.Digest, Size: uploaded.Size}
		return err
	})
	return sent, err
}

// pacedReader is what is sent: a watch expects the next bytes of it to be asked for.
type pacedReader struct {
	from io.Reader
	*watch
}

func (r *pacedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p[:min(leastPace, len(p))])
	r.sends()
	r.expect(r.within)
	return n, err
}
