package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// fromDirectory takes up the image of a directory that `skopeo copy … dir:` has
// made, which has no name there. It may have signatures.
func (o Options) fromDirectory(ctx context.Context, path string) (_ []layout.Image, err error) {
	ref, err := directory.NewReference(path)
	if err != nil {
		return nil, err
	}
	source, err := ref.NewImageSource(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	d := &fileImage{ctx: ctx, options: o, layout: o.layout(), source: source}
	m, err := d.manifests()
	if err != nil {
		return nil, err
	}
	if err := d.blobs(m); err != nil {
		return nil, err
	}
	return o.settle(ctx, loaded{manifest: d.manifest, index: d.index}, m.Config.Digest, false)
}

// fileImage is an image as files in a directory.
type fileImage struct {
	ctx     context.Context
	options Options
	layout  *layout.Layout
	source  types.ImageSource

	manifest v1.Descriptor
	index    *v1.Descriptor
}

// manifests stores the manifest, and the index that it is chosen from if there is
// one.
func (f *fileImage) manifests() (*v1.Manifest, error) {
	unparsed := image.UnparsedInstance(f.source, nil)
	raw, mediaType, err := unparsed.Manifest(f.ctx)
	if err != nil {
		return nil, fault.New("name a directory that skopeo copy IMAGE dir:DIRECTORY has made", "%w", err)
	}
	if manifest.MIMETypeIsMultiImage(mediaType) {
		chosen, err := f.options.instance(raw, "the image")
		if err != nil {
			return nil, err
		}
		index, err := f.layout.PutBytes(f.ctx, raw)
		if err != nil {
			return nil, err
		}
		index.MediaType, f.index = mediaType, &index
		unparsed = image.UnparsedInstance(f.source, &chosen)
		if raw, mediaType, err = unparsed.Manifest(f.ctx); err != nil {
			return nil, err
		}
	}
	if err := f.options.allowed(f.ctx, unparsed, "the image"); err != nil {
		return nil, err
	}
	m, err := parseManifest(raw, mediaType)
	if err != nil {
		return nil, err
	}
	f.manifest, err = f.layout.PutBytes(f.ctx, raw)
	f.manifest.MediaType = mediaType
	return m, err
}

// blobs stores config and layers.
func (f *fileImage) blobs(m *v1.Manifest) error {
	if err := f.blob(m.Config, &reporter{}); err != nil {
		return err
	}
	if err := f.options.suitsManifest(f.layout, m); err != nil {
		return err
	}
	for _, d := range m.Layers {
		if err := f.blob(d, f.options.reporter()); err != nil {
			return err
		}
	}
	return nil
}

func (f *fileImage) blob(d v1.Descriptor, told *reporter) error {
	if f.layout.HasBlob(d.Digest, d.Size) {
		told.tell(Event{Kind: Exists, Digest: d.Digest, Size: d.Size, Offset: d.Size})
		return nil
	}
	stream, _, err := f.source.GetBlob(f.ctx, types.BlobInfo{Digest: d.Digest, Size: d.Size}, none.NoCache)
	if err != nil {
		return err
	}
	told.tell(Event{Kind: Started, Digest: d.Digest, Size: d.Size})
	err = storeBlob(f.layout, f.options.Session, d, &progressReader{reporter: told, from: stream, blob: d})
	if err = errors.Join(err, stream.Close()); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	told.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return nil
}
