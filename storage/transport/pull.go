package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

// blobsAtOnce is how many blobs are fetched side by side, as docker and the
// library's own copying have it.
const blobsAtOnce = 6

// Pull fetches the image that name means from its registry and gives it that
// name. Blobs that are there already aren't fetched. Of a multi-platform image
// it takes the manifest that suits the platform, and keeps the index. For an
// image that the registry doesn't have errors.Is(err, layout.ErrUnknown).
func Pull(ctx context.Context, name string, o Options) (layout.Image, error) {
	r, err := o.remote(name)
	if err != nil {
		return layout.Image{}, err
	}
	if repository(r.name) == "docker.io/library/scratch" {
		return layout.Image{}, fault.New("it can only stand in FROM", "scratch is the name of the empty image: there is nothing to pull")
	}
	p := &pull{remote: r, options: o, layout: o.layout(), reporter: o.reporter()}
	if err := p.run(ctx); err != nil {
		return layout.Image{}, o.explain(err, r)
	}
	return p.found, nil
}

type pull struct {
	*remote
	*reporter
	options Options
	layout  *layout.Layout
	source  types.ImageSource

	index    *v1.Descriptor
	manifest v1.Descriptor
	found    layout.Image
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
		index, err := p.layout.PutBytes(ctx, raw)
		if err != nil {
			return nil, err
		}
		index.MediaType, p.index = mediaType, &index
		unparsed = image.UnparsedInstance(p.source, &chosen)
		if raw, mediaType, err = p.rawManifest(ctx, unparsed); err != nil {
			return nil, err
		}
	}
	if err := p.options.allowed(ctx, unparsed, layout.Familiar(p.name)); err != nil {
		return nil, err
	}
	m, err := parseManifest(raw, mediaType)
	if err != nil {
		return nil, err
	}
	p.manifest, err = p.layout.PutBytes(ctx, raw)
	p.manifest.MediaType = mediaType
	return m, err
}

// rawManifest gives a manifest whose digest has been checked where the digest
// was known before.
func (p *pull) rawManifest(ctx context.Context, u *image.UnparsedImage) (raw []byte, mediaType string, err error) {
	err = retry(ctx, func() error {
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

// largestConfig is what layouts and registries take for a config.
const largestConfig = 4 << 20

// parseManifest reads an image's manifest. Docker's schema 2 has OCI's members.
func parseManifest(raw []byte, mediaType string) (*v1.Manifest, error) {
	switch mediaType {
	case v1.MediaTypeImageManifest, layout.MediaTypeDockerManifest:
	case manifest.DockerV2Schema1MediaType, manifest.DockerV2Schema1SignedMediaType:
		return nil, fault.New("push it again with a newer docker, or convert it: skopeo copy --format oci",
			"the image has a manifest of docker's schema 1, which has been out of use since 2017")
	default:
		return nil, fmt.Errorf("manifest of unknown type %q", mediaType)
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if t := m.Config.MediaType; t != v1.MediaTypeImageConfig && t != layout.MediaTypeDockerConfig {
		return nil, fault.New("", "not an image but an artifact of type %q", t)
	}
	if m.Config.Size > largestConfig {
		return nil, fault.New("", "the image's config has %d bytes, and may have 4 MiB", m.Config.Size)
	}
	return &m, nil
}

// fetchAll fetches config and layers, as far as they aren't there.
func (p *pull) fetchAll(ctx context.Context, m *v1.Manifest) error {
	if err := p.fetchConfig(ctx, m); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	begun := map[digest.Digest]bool{}
	for _, layer := range m.Layers {
		if begun[layer.Digest] {
			continue
		}
		begun[layer.Digest] = true
		if p.layout.HasBlob(layer.Digest, layer.Size) {
			p.tell(Event{Kind: Exists, Digest: layer.Digest, Size: layer.Size, Offset: layer.Size})
			continue
		}
		group.Go(func() error { return p.fetch(ctx, layer) })
	}
	return group.Wait()
}

// blobsOf gives the digests of config and layers.
func blobsOf(m *v1.Manifest) []digest.Digest {
	blobs := []digest.Digest{m.Config.Digest}
	for _, l := range m.Layers {
		blobs = append(blobs, l.Digest)
	}
	return blobs
}

// fetchConfig fetches the config and checks that it belongs to the manifest.
func (p *pull) fetchConfig(ctx context.Context, m *v1.Manifest) error {
	data, err := p.layout.ReadBlob(m.Config.Digest)
	if errors.Is(err, layout.ErrAbsent) {
		silent := *p // users think of layers; the config is next to nothing
		silent.reporter = &reporter{}
		if err := silent.fetch(ctx, m.Config); err != nil {
			return err
		}
		data, err = p.layout.ReadBlob(m.Config.Digest)
	}
	if err != nil {
		return err
	}
	config, err := layout.ParseConfig(data)
	if err != nil {
		return err
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("the image has %d layers, but its config tells of %d", len(m.Layers), len(config.RootFS.DiffIDs))
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

func (p *pull) fetch(ctx context.Context, d v1.Descriptor) error {
	return retry(ctx, func() error {
		if err := p.fetchOnce(ctx, d); err != nil {
			return fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		return nil
	})
}

func (p *pull) fetchOnce(ctx context.Context, d v1.Descriptor) error {
	info := types.BlobInfo{Digest: d.Digest, Size: d.Size, URLs: d.URLs, MediaType: d.MediaType}
	stream, _, err := p.source.GetBlob(ctx, info, none.NoCache)
	if err != nil {
		return err
	}
	defer stream.Close()
	p.tell(Event{Kind: Started, Digest: d.Digest, Size: d.Size})
	if err := storeBlob(p.layout, p.options.Session, d, &progressReader{reporter: p.reporter, from: stream, blob: d}); err != nil {
		return err
	}
	p.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return nil
}

// storeBlob stores what r gives, which must be the blob d.
func storeBlob(l *layout.Layout, session string, d v1.Descriptor, r io.Reader) error {
	w, err := l.NewBlobWriter(session)
	if err != nil {
		return err
	}
	digester := digest.SHA256.Digester()
	// One byte more than promised shows that there is too much.
	_, err = io.CopyBuffer(io.MultiWriter(w, digester.Hash()), io.LimitReader(r, d.Size+1), make([]byte, copyBuffer))
	switch {
	case err != nil:
	case w.Size() < d.Size:
		err = fmt.Errorf("%d of %d bytes: %w", w.Size(), d.Size, io.ErrUnexpectedEOF)
	case w.Size() > d.Size || digester.Digest() != d.Digest:
		err = fmt.Errorf("the content doesn't have the digest %s", d.Digest)
	default:
		return w.Commit(d.Digest)
	}
	return errors.Join(err, w.Cancel())
}

const copyBuffer = 256 << 10

// progressReader tells how much of a blob has been read.
type progressReader struct {
	*reporter
	from   io.Reader
	blob   v1.Descriptor
	offset int64
	told   time.Time
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.offset += int64(n)
	if now := time.Now(); now.Sub(r.told) >= progressPause {
		r.told = now
		r.tell(Event{Kind: Progress, Digest: r.blob.Digest, Size: r.blob.Size, Offset: r.offset})
	}
	return n, err
}
