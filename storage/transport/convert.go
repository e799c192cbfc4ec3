package transport

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containers/image/v5/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// A Conversion is what a push to a registry may change of an image. The zero value
// changes nothing, and so keeps the digest.
type Conversion struct {
	// Format of the manifest.
	Format layout.Format
	// Compression of the layers, and the compressor's level; 0 is the usual one.
	Compression layer.Compression
	Level       int
	// Force compresses those anew too that have this compression already.
	Force bool
}

// changes says that a push may not keep the digest.
func (c Conversion) changes() bool { return c != Conversion{} }

// possible tells before anything is sent that there is no such image.
func (c Conversion) possible(m *v1.Manifest) error {
	format := c.Format
	if format == "" {
		format = formatOf(m.MediaType)
	}
	if format == layout.FormatDocker && c.Compression == layer.Zstd {
		return fault.New("add --format oci", "docker's image format has no layers compressed by zstd")
	}
	return nil
}

func formatOf(manifestType string) layout.Format {
	if manifestType == layout.MediaTypeDockerManifest {
		return layout.FormatDocker
	}
	return layout.FormatOCI
}

// indexType is the media type of an index in a format.
func indexType(f layout.Format, now string) string {
	switch f {
	case layout.FormatOCI:
		return v1.MediaTypeImageIndex
	case layout.FormatDocker:
		return layout.MediaTypeDockerManifestList
	}
	return now
}

// recompresses says whether a layer is to be compressed in another way. What isn't
// a tar is left alone.
func (c Conversion) recompresses(d v1.Descriptor) bool {
	if c.Compression == "" || len(d.URLs) > 0 || !strings.Contains(d.MediaType, ".tar") {
		return false
	}
	return c.Force || compressionOf(d.MediaType) != c.Compression
}

// compressionOf reads a layer's media type, OCI's or docker's.
func compressionOf(mediaType string) layer.Compression {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		return layer.Gzip
	case strings.HasSuffix(mediaType, "zstd"):
		return layer.Zstd
	}
	return layer.None
}

// recompress sends a layer in another compression, as that is made: nothing of it
// is kept here.
func (p *pushing) recompress(ctx context.Context, m *sending, d v1.Descriptor) (v1.Descriptor, error) {
	f, err := p.open(ctx, m, d)
	if err != nil {
		return d, err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	made, making := io.Pipe()
	packed := make(chan layer.Packed, 1)
	go func() {
		defer close(packed)
		source := &progressReader{reporter: p.reporter, from: f, blob: d}
		out, err := layer.Recompress(ctx, source, making, layer.PackOptions{Compression: p.options.Compression, Level: p.options.Level})
		making.CloseWithError(err)
		packed <- out
	}()
	sent, err := p.put(ctx, made, types.BlobInfo{Size: -1})
	made.CloseWithError(io.ErrClosedPipe) // where it wasn't read to its end
	out := <-packed
	switch {
	case err != nil:
		return d, err
	case sent.Digest != out.Blob.Digest:
		return d, fmt.Errorf("the registry's digest %s isn't that of what was sent: %s", sent.Digest, out.Blob.Digest)
	}
	p.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return out.Blob, nil
}
