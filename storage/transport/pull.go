package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/internal/room"
	"github.com/builder-oci/builder/storage/layout"
)

// blobsAtOnce is how many blobs are fetched side by side, as docker and the
// library's own copying have it.
const blobsAtOnce = 6

// Pull fetches the image that name means from its registry and gives it that
// name. Blobs that are there already aren't fetched. Of a multi-platform image
// it takes the manifest that suits the platform, and keeps the index. For an
// image that the registry doesn't have errors.Is(err, layout.ErrUnknown).
//
// What was fetched before a connection broke for good waits a day for the next
// pull; of an image that is bad nothing is kept.
func Pull(ctx context.Context, name string, o Options) (layout.Image, error) {
	r, err := o.remote(name)
	if err != nil {
		return layout.Image{}, err
	}
	if repository(r.name) == "docker.io/library/scratch" {
		return layout.Image{}, fault.New("it can only stand in FROM", "scratch is the name of the empty image: there is nothing to pull")
	}
	p := &pull{remote: r, retrying: o.retrying(o.reporter()), options: o, layout: o.layout()}
	if err := p.run(ctx); err != nil {
		err = o.explain(err, r)
		if !isOfNetwork(err) && ctx.Err() == nil {
			err = errors.Join(err, p.layout.NoteFree(layout.Free{Blobs: p.news}))
		}
		return layout.Image{}, err
	}
	return p.found, nil
}

type pull struct {
	*remote
	retrying
	options Options
	layout  *layout.Layout
	source  types.ImageSource

	index    *v1.Descriptor
	manifest v1.Descriptor
	found    layout.Image

	mu   sync.Mutex
	news []digest.Digest // blobs that weren't there
}

// fetched notes that a blob is there now.
func (p *pull) fetched(d digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news = append(p.news, d)
}

func (p *pull) run(ctx context.Context) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	defer p.source.Close()
	m, err := p.choose(ctx)
	if err != nil {
		return err
	}
	err = p.finish(ctx, m)
	if errors.Is(err, layout.ErrAbsent) {
		// A blob that was there already has just been removed by another process.
		err = p.finish(ctx, m)
	}
	return err
}

func (p *pull) finish(ctx context.Context, m *v1.Manifest) error {
	if err := p.fetchAll(ctx, m); err != nil {
		return err
	}
	if err := p.options.known().add(p.domain, repository(p.name), blobsOf(m)); err != nil {
		return err
	}
	want, err := platform.Parse(p.options.Platform)
	if err != nil {
		return err
	}
	if p.options.Base && p.nameIsAnothers(want) {
		p.found, err = p.layout.CommitBase(ctx, p.name, want, p.manifest, p.index)
		return err
	}
	if err := p.layout.CommitPulled(ctx, p.name, p.manifest, p.index); err != nil {
		return err
	}
	p.found, err = p.layout.Find(layout.Familiar(p.name))
	return err
}

// nameIsAnothers says that the name is for an image of another platform: for
// this machine's, or what has it now.
func (p *pull) nameIsAnothers(want v1.Platform) bool {
	if !platform.IsHere(want) {
		return true
	}
	img, err := p.layout.Find(layout.Familiar(p.name))
	if err != nil {
		return false
	}
	config, err := p.layout.Config(img)
	return err == nil && !platform.Serves(config.Platform(), want)
}

// choose stores manifest and index, and gives the manifest.
//
// The library's own copy into an OCI layout isn't used: it turns docker's
// manifests into OCI's, which changes their digest, writes manifests in place
// and index.json without a lock.
func (p *pull) choose(ctx context.Context) (*v1.Manifest, error) {
	unparsed := image.UnparsedInstance(p.source, nil)
	raw, mediaType, err := p.rawManifest(ctx, unparsed)
	if err != nil {
		return nil, err
	}
	if manifest.MIMETypeIsMultiImage(mediaType) {
		chosen, err := p.options.instance(raw, layout.Familiar(p.name))
		if err != nil {
			return nil, err
		}
		index, err := p.put(ctx, raw)
		if err != nil {
			return nil, err
		}
		index.MediaType, p.index = mediaType, &index
		unparsed = image.UnparsedInstance(p.source, &chosen)
		if raw, mediaType, err = p.rawManifest(ctx, unparsed); err != nil {
			return nil, err
		}
	}
	if err := p.allowed(ctx, unparsed); err != nil {
		return nil, err
	}
	m, err := parseManifest(raw, mediaType)
	if err != nil {
		return nil, err
	}
	p.manifest, err = p.put(ctx, raw)
	p.manifest.MediaType = mediaType
	return m, err
}

// allowed asks policy.json, which may ask the registry for signatures.
func (p *pull) allowed(ctx context.Context, unparsed *image.UnparsedImage) error {
	return p.ask(ctx, func(ctx context.Context) error {
		return p.options.allowed(ctx, unparsed, layout.Familiar(p.name))
	})
}

// put stores a manifest or an index.
func (p *pull) put(ctx context.Context, raw []byte) (v1.Descriptor, error) {
	known := p.layout.HasBlob(digest.FromBytes(raw), -1)
	d, err := p.layout.PutBytes(ctx, raw)
	if err == nil && !known {
		p.fetched(d.Digest)
	}
	return d, err
}

// rawManifest gives a manifest whose digest has been checked where the digest
// was known before.
func (p *pull) rawManifest(ctx context.Context, u *image.UnparsedImage) (raw []byte, mediaType string, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		raw, mediaType, err = u.Manifest(ctx)
		return err
	})
	if mediaType == "" || mediaType == "application/json" || mediaType == "text/plain" {
		mediaType = manifest.GuessMIMEType(raw)
	}
	return raw, mediaType, err
}

// instance chooses the manifest of an index, of docker's kind or OCI's. name is
// the image's.
func (o Options) instance(raw []byte, name string) (digest.Digest, error) {
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return "", fmt.Errorf("index: %w", err)
	}
	want, err := platform.Parse(o.Platform)
	if err != nil {
		return "", err
	}
	if chosen, found := platform.Choose(index.Manifests, want); found {
		return chosen.Digest, nil
	}
	wanted := platform.Name(want)
	if o.Platform == "" {
		wanted = "this machine, which is " + wanted
	}
	return "", fault.New("choose one of them by --platform: "+strings.Join(platform.Names(index.Manifests), ", "),
		"%w for %s: %s", layout.ErrUnknown, wanted, name)
}

// fetchAll fetches config and layers, as far as they aren't there.
func (p *pull) fetchAll(ctx context.Context, m *v1.Manifest) error {
	// From here on nobody prunes what is there already.
	if err := p.layout.Lease(blobsOf(m)...); err != nil {
		return err
	}
	known := p.isKnown(m)
	if err := p.fetchConfig(ctx, m); err != nil {
		return err
	}
	missing := p.missing(m, !known)
	if err := p.hasRoom(missing); err != nil {
		return err
	}
	for _, layer := range missing[min(blobsAtOnce, len(missing)):] {
		p.tell(Event{Kind: Waiting, Digest: layer.Digest, Size: layer.Size})
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for _, layer := range missing {
		group.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := p.fetch(ctx, layer, p.reporter); err != nil {
				return spoilt("layer", layer, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// hasRoom is an error where the layers are larger than what is free on the disk:
// nobody waits until that is full.
func (p *pull) hasRoom(layers []v1.Descriptor) error {
	var need int64
	for _, l := range layers {
		need += min(max(l.Size, 0), math.MaxInt64-need)
	}
	return room.For(p.layout.BlobsDir(), need)
}

// blobsOf gives the digests of an image's config and layers.
func blobsOf(m *v1.Manifest) []digest.Digest {
	digests := []digest.Digest{m.Config.Digest}
	for _, l := range m.Layers {
		digests = append(digests, l.Digest)
	}
	return digests
}

// missing gives the layers that have to be fetched, each once, and with tell says
// so of each.
func (p *pull) missing(m *v1.Manifest, tell bool) []v1.Descriptor {
	var missing []v1.Descriptor
	seen := map[digest.Digest]bool{}
	for _, layer := range m.Layers {
		if seen[layer.Digest] {
			continue
		}
		seen[layer.Digest] = true
		e := Event{Kind: Queued, Digest: layer.Digest, Size: layer.Size}
		if p.layout.HasBlob(layer.Digest, layer.Size) {
			e.Kind, e.Offset = Exists, layer.Size
		} else {
			missing = append(missing, layer)
		}
		if tell || e.Kind == Queued {
			p.tell(e)
		}
	}
	return missing
}

// isKnown says whether the image is here already, so that there is nothing to
// tell of its layers.
func (p *pull) isKnown(m *v1.Manifest) bool {
	_, err := p.layout.Find(m.Config.Digest.String())
	return err == nil
}

// fetchConfig fetches the config and checks that it belongs to the manifest.
func (p *pull) fetchConfig(ctx context.Context, m *v1.Manifest) error {
	data, err := p.layout.ReadBlob(m.Config.Digest)
	if errors.Is(err, layout.ErrAbsent) {
		silent := &reporter{} // users think of layers; the config is next to nothing
		if err := p.fetch(ctx, m.Config, silent); err != nil {
			return spoilt("config", m.Config, err)
		}
		data, err = p.layout.ReadBlob(m.Config.Digest)
	}
	if err != nil {
		return err
	}
	config, err := layout.ParseConfig(data)
	if err != nil {
		return fault.New(pushAgain, "config %s: %w", m.Config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return fault.New(pushAgain, "the image has %d layers, but its config tells of %d", len(m.Layers), len(config.RootFS.DiffIDs))
	}
	if err := p.options.suits(config); err != nil {
		return fmt.Errorf("%w: %s", err, layout.Familiar(p.name))
	}
	return nil
}

// suits checks the platform of an image that has only one.
func (o Options) suits(config *layout.ImageConfig) error {
	want, err := platform.Parse(o.Platform)
	if err != nil || o.Platform == "" || platform.Serves(config.Platform(), want) {
		return err
	}
	return fault.New("", "%w for %s, only for %s", layout.ErrUnknown, platform.Name(want), platform.Name(config.Platform()))
}

// suitsManifest is suits for an image of a layout.
func (o Options) suitsManifest(l *layout.Layout, m *v1.Manifest) error {
	config, err := l.Config(layout.Image{ID: m.Config.Digest})
	if err != nil {
		return err
	}
	return o.suits(config)
}
