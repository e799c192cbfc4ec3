package transport

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"time"

	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// ImportOptions say what image Import makes.
type ImportOptions struct {
	Options
	// Name is the image's, or empty.
	Name string
	// Source stands in the history: "Imported from Source".
	Source string
	// Message takes that line's place.
	Message string
	// Created is now where it is zero.
	Created time.Time
	// Format is OCI's where it is empty.
	Format layout.Format
	// Change may change the config, as Dockerfile instructions do.
	Change func(*layout.ImageConfig) error
}

// Import makes an image of one layer from the tarball of a root file system,
// which may be compressed by gzip, bzip2, xz or zstd. The tar's bytes become the
// layer's as they are, compressed by gzip. It gives the image's id.
func Import(ctx context.Context, r io.Reader, o ImportOptions) (digest.Digest, error) {
	config, err := o.config()
	if err != nil {
		return "", err
	}
	if o.Change != nil {
		if err := o.Change(config); err != nil {
			return "", err
		}
	}
	l := o.layout()
	diffID, blob, err := importLayer(ctx, l, r, o.Session)
	if err != nil {
		return "", err
	}
	config.RootFS.DiffIDs = []digest.Digest{diffID}
	format := o.Format
	if format == "" {
		format = layout.FormatOCI
	}
	manifest, id, err := layout.WriteImage(ctx, l, config, []v1.Descriptor{blob}, format, nil)
	if err != nil {
		return "", err
	}
	var names []string
	if o.Name != "" {
		names = []string{o.Name}
	}
	return id, l.Commit(ctx, names, manifest, nil)
}

func (o ImportOptions) config() (*layout.ImageConfig, error) {
	p, err := platform.Parse(o.Platform)
	if err != nil {
		return nil, err
	}
	created := o.Created
	if created.IsZero() {
		created = time.Now().UTC()
	}
	comment := o.Message
	if comment == "" {
		comment = "Imported from " + o.Source
	}
	return &layout.ImageConfig{
		Created: &created, Comment: comment,
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		History: []v1.History{{Created: &created, Comment: comment}},
	}, nil
}

// How much is compressed at a time, and how many such pieces at once.
const (
	gzipBlock  = 1 << 20
	gzipBlocks = 4
)

// importLayer stores the tar that r gives as a gzip blob: its digest before and
// after compression, the blob, and a look at every header come out of one pass.
func importLayer(ctx context.Context, l *layout.Layout, r io.Reader, session string) (digest.Digest, v1.Descriptor, error) {
	none := v1.Descriptor{}
	plain, _, err := layer.Decompress(r)
	if err != nil {
		return "", none, notTar(err)
	}
	defer plain.Close()
	blob, err := l.NewBlobWriter(session)
	if err != nil {
		return "", none, err
	}
	whole, packed := digest.SHA256.Digester(), digest.SHA256.Digester()
	zip, err := pgzip.NewWriterLevel(io.MultiWriter(blob, packed.Hash()), layer.DefaultLevel(layer.Gzip))
	if err != nil {
		return "", none, errors.Join(err, blob.Cancel())
	}
	if err := zip.SetConcurrency(gzipBlock, gzipBlocks); err != nil {
		return "", none, errors.Join(err, blob.Cancel())
	}
	err = checkedCopy(ctx, io.MultiWriter(whole.Hash(), zip), plain)
	if err = errors.Join(err, zip.Close()); err != nil {
		return "", none, errors.Join(err, blob.Cancel())
	}
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: packed.Digest(), Size: blob.Size()}
	return whole.Digest(), d, blob.Commit(d.Digest)
}

// checkedCopy copies a tar and reads its headers on the way.
func checkedCopy(ctx context.Context, w io.Writer, r io.Reader) error {
	pr, pw := io.Pipe()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := checkTar(ctx, pr)
		_ = pr.CloseWithError(err) // never fails
		return err
	})
	group.Go(func() error {
		_, err := io.CopyBuffer(io.MultiWriter(w, pw), r, make([]byte, copyBuffer))
		_ = pw.CloseWithError(err) // never fails
		return err
	})
	return group.Wait()
}

// checkTar reads a tar to its end, and what follows its end.
func checkTar(ctx context.Context, r io.Reader) error {
	counted := &countingReader{r: r}
	t := tar.NewReader(counted)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := t.Next()
		if errors.Is(err, io.EOF) && counted.n > 0 { // an empty tar is blocks of zeros
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return notTar(err)
		}
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func notTar(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	return fault.New("builder import reads the tarball of a root file system, as docker export writes it;\n"+
		"for an archive of images: builder load", "not a tarball: %w", err)
}
