package build

import (
	"context"
	"fmt"
	"io"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// recompressed stands before the packer's version where a blob was made of
// another one, and not of a tree.
const recompressed = "recompressed "

// recompress gives the blob of a base image's layer in the compression that is
// asked for.
func (p *packer) recompress(ctx context.Context, l stage.Layer) (snapshot.Packing, error) {
	own := snapshot.Packing{DiffID: l.DiffID, Blob: l.Blob}
	if compressionOf(l.Blob) == p.o.Compression || len(l.Blob.URLs) > 0 {
		return own, nil
	}
	want := p.want(false)
	want.Time, want.Packer, want.Exact = layer.TimeRule{}, recompressed+layer.PackerVersion, true
	found, ok := p.env.Store.Records().Packing(l.Tree, want)
	if ok && found.DiffID == l.DiffID && p.env.Store.Layout().HasBlob(found.Blob.Digest, found.Blob.Size) {
		return found, nil
	}
	if p.env.Snapshots == nil {
		return own, ErrNamespace
	}
	free, err := p.slot(ctx)
	if err != nil {
		return own, err
	}
	defer free()
	blob, err := p.env.Store.Layout().OpenBlob(l.Blob)
	if err != nil {
		return own, err
	}
	defer blob.Close()
	packed, err := p.write(l.Tree, want, func(w io.Writer) (layer.Packed, error) {
		packed, err := layer.Recompress(ctx, blob, w, packOptions(want, nil))
		if err == nil && packed.DiffID != l.DiffID {
			err = fault.New("builder system check --repair", "its content is that of another one: %s", packed.DiffID)
		}
		return packed, err
	})
	if err != nil {
		return own, fmt.Errorf("recompress the base image's layer %s: %w", l.DiffID, err)
	}
	return packed, nil
}

// compressionOf reads a layer's media type, OCI's or docker's.
func compressionOf(blob v1.Descriptor) layer.Compression {
	switch {
	case strings.HasSuffix(blob.MediaType, "gzip"):
		return layer.Gzip
	case strings.HasSuffix(blob.MediaType, "zstd"):
		return layer.Zstd
	}
	return layer.None
}
