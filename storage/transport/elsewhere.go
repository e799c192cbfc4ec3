package transport

import (
	"context"
	"errors"
	"io"

	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// open gives a blob's content: the store's, or for an image of an index that isn't
// here that of the registry which it was listed from.
func (p *pushing) open(ctx context.Context, m *sending, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := p.layout.OpenBlob(d)
	if !errors.Is(err, layout.ErrAbsent) {
		return f, err
	}
	for _, repository := range p.options.known().anywhere(m.digest) {
		from, fromErr := p.options.openRemote(ctx, repository+"@"+m.digest.String(), d)
		if fromErr == nil {
			return from, nil
		}
		err = fromErr
	}
	return nil, fault.New("builder system check --repair\nor, of an image of a manifest list, add it again: builder manifest add LIST docker://NAME",
		"it is not here, and can't be had from elsewhere: %w", err)
}

// openRemote opens a blob of an image in a registry.
func (o Options) openRemote(ctx context.Context, name string, d v1.Descriptor) (io.ReadCloser, error) {
	r, err := o.remote(name)
	if err != nil {
		return nil, err
	}
	source, err := r.ref.NewImageSource(ctx, r.sys)
	if err != nil {
		return nil, err
	}
	stream, _, err := source.GetBlob(ctx, types.BlobInfo{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}, none.NoCache)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return &remoteBlob{stream, source}, nil
}

// remoteBlob is a blob on its way, with what it comes by.
type remoteBlob struct {
	io.ReadCloser
	source types.ImageSource
}

func (b *remoteBlob) Close() error { return errors.Join(b.ReadCloser.Close(), b.source.Close()) }
