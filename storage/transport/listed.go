package transport

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

// FetchListed fetches manifest and config of what name means in its registry, and gives
// the descriptors with which an index lists it. Of a multi-platform image that is
// what suits the platform, or with all set every image of it. The layers stay there:
// who pushes the index has them mounted, or copied from there.
func FetchListed(ctx context.Context, name string, all bool, o Options) ([]v1.Descriptor, error) {
	r, err := o.remote(name)
	if err != nil {
		return nil, err
	}
	p := &pull{remote: r, retrying: o.retrying(o.reporter()), options: o, layout: o.layout()}
	found, err := p.bring(ctx, all)
	return found, o.explain(err, r)
}

// RemoteManifest gives the manifest or index that a registry has under a name, as
// it is.
func RemoteManifest(ctx context.Context, name string, o Options) (raw []byte, mediaType string, err error) {
	r, err := o.remote(name)
	if err != nil {
		return nil, "", err
	}
	p := &pull{remote: r, retrying: o.retrying(o.reporter()), options: o}
	if err = p.open(ctx); err == nil {
		defer p.source.Close()
		raw, mediaType, err = p.rawManifest(ctx, image.UnparsedInstance(p.source, nil))
	}
	return raw, mediaType, o.explain(err, r)
}

// open begins to speak with the registry. The caller closes the source.
func (p *pull) open(ctx context.Context) error {
	return p.ask(ctx, func(ctx context.Context) (err error) {
		p.source, err = p.ref.NewImageSource(ctx, p.sys)
		return err
	})
}

func (p *pull) bring(ctx context.Context, all bool) ([]v1.Descriptor, error) {
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	defer p.source.Close()
	raw, mediaType, err := p.rawManifest(ctx, image.UnparsedInstance(p.source, nil))
	if err != nil {
		return nil, err
	}
	if !manifest.MIMETypeIsMultiImage(mediaType) {
		d, err := p.bringOne(ctx, nil)
		return []v1.Descriptor{d}, err
	}
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	var chosen digest.Digest
	if !all {
		if chosen, err = p.options.instance(raw, layout.Familiar(p.name)); err != nil {
			return nil, err
		}
	}
	var found []v1.Descriptor
	for _, child := range index.Manifests {
		if platform.IsAttestation(child) || !all && child.Digest != chosen {
			continue
		}
		d, err := p.bringOne(ctx, &child.Digest)
		if err != nil {
			return nil, err
		}
		if child.Platform != nil {
			d.Platform = child.Platform
		}
		d.Annotations = child.Annotations
		found = append(found, d)
	}
	return found, nil
}

// bringOne fetches one image, without its layers.
func (p *pull) bringOne(ctx context.Context, instance *digest.Digest) (v1.Descriptor, error) {
	unparsed := image.UnparsedInstance(p.source, instance)
	raw, mediaType, err := p.rawManifest(ctx, unparsed)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := p.options.allowed(ctx, unparsed, layout.Familiar(p.name)); err != nil {
		return v1.Descriptor{}, err
	}
	m, err := parseManifest(raw, mediaType)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d, err := p.layout.PutBytes(ctx, raw)
	if err != nil {
		return d, err
	}
	d.MediaType = mediaType
	asked := pull{remote: p.remote, retrying: p.retrying, options: p.options, layout: p.layout, source: p.source}
	if instance != nil {
		asked.options.Platform = "" // what was asked for was chosen of the index
	}
	if err := asked.fetchConfig(ctx, m); err != nil {
		return d, err
	}
	if err := p.options.known().add(p.domain, repository(p.name), append(blobsOf(m), d.Digest)); err != nil {
		return d, err
	}
	return p.layout.Listed(d)
}
