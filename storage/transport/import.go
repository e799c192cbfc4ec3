package transport

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
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
// layer's as they are. One that comes compressed by gzip is the blob itself;
// others are compressed by gzip, which every tool reads. It gives the image's id.
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
	blob, err := l.NewBlobWriter(session)
	if err != nil {
		return "", v1.Descriptor{}, err
	}
	packed := digest.SHA256.Digester()
	diffID, size, err := packTar(ctx, io.MultiWriter(blob, packed.Hash()), r)
	if err != nil {
		return "", v1.Descriptor{}, errors.Join(err, blob.Cancel())
	}
	d := v1.Descriptor{
		MediaType: v1.MediaTypeImageLayerGzip, Digest: packed.Digest(), Size: blob.Size(),
		Annotations: map[string]string{layout.UncompressedSize: strconv.FormatInt(size, 10)},
	}
	return diffID, d, blob.Commit(d.Digest)
}

// packTar copies the tarball that r gives to w, compressed by gzip, and gives the
// digest and the size of the tar in it.
func packTar(ctx context.Context, w io.Writer, r io.Reader) (digest.Digest, int64, error) {
	in := bufio.NewReaderSize(r, copyBuffer)
	head, err := in.Peek(layer.HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", 0, err
	}
	isPacked := layer.Compressor(head) == string(layer.Gzip)
	var stream io.Reader = in
	if isPacked {
		stream = io.TeeReader(in, w)
	}
	plain, _, err := layer.Decompress(stream)
	if err != nil {
		return "", 0, notTar(err)
	}
	defer plain.Close()
	whole := digest.SHA256.Digester()
	counted := &countingReader{r: layout.ReaderWithContext(ctx, plain)}
	if isPacked {
		err = checkedCopy(ctx, whole.Hash(), counted)
		return whole.Digest(), counted.n, err
	}
	zip, err := pgzip.NewWriterLevel(w, layer.DefaultLevel(layer.Gzip))
	if err != nil {
		return "", 0, err
	}
	if err := zip.SetConcurrency(gzipBlock, gzipBlocks); err != nil {
		return "", 0, err
	}
	err = checkedCopy(ctx, io.MultiWriter(whole.Hash(), zip), counted)
	if closing := zip.Close(); err == nil {
		err = closing // it would only say the same again
	}
	return whole.Digest(), counted.n, err
}

// checkedCopy copies a tar and reads its headers on the way. What is wrong with
// the tar is told with the entry where it is.
func checkedCopy(ctx context.Context, w io.Writer, r *countingReader) error {
	pr, pw := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(io.MultiWriter(w, pw), r, make([]byte, copyBuffer))
		_ = pw.CloseWithError(err) // never fails
		copied <- err
	}()
	tarErr := checkTar(ctx, pr)
	_ = pr.CloseWithError(tarErr) // never fails
	copyErr := <-copied
	if copyErr != nil && !r.failed && !errors.Is(copyErr, tarErr) {
		return copyErr // w has failed: the tar isn't at fault
	}
	return tarErr
}

// checkTar reads a tar to its end, and what follows its end.
func checkTar(ctx context.Context, r io.Reader) error {
	counted := &countingReader{r: r}
	t := tar.NewReader(counted)
	last := ""
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) && counted.n > 0 { // an empty tar is blocks of zeros
			if _, err = io.Copy(io.Discard, r); err == nil {
				return nil
			}
		}
		if err == nil {
			last = h.Name
			err = checkInside(h)
		}
		if err != nil {
			return badTar(last, err)
		}
	}
}

// checkInside is an error where an entry's name, or what it is a hard link to,
// leads out of the tree.
func checkInside(h *tar.Header) error {
	if climbs(h.Name) {
		return fault.New(repack, "entry %q: the name leads out of the tree", h.Name)
	}
	if h.Typeflag == tar.TypeLink && climbs(h.Linkname) {
		return fault.New(repack, "entry %q: it is a hard link to %q, which leads out of the tree", h.Name, h.Linkname)
	}
	return nil
}

const repack = "make the archive again, by: tar -C DIR -c ."

func climbs(name string) bool {
	name = path.Clean(name)
	return name == ".." || strings.HasPrefix(name, "../")
}

// badTar says what is wrong behind the entry last, "" where there was none.
func badTar(last string, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case last == "":
		return notTar(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New("transfer it again", "the tarball ends in the middle of entry %q: %w", last, err)
	}
	return fault.New("transfer it again", "the tarball is damaged after entry %q: %w", last, err)
}

// countingReader counts what is read, and notes whether that failed.
type countingReader struct {
	r      io.Reader
	n      int64
	failed bool
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.failed = c.failed || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

func notTar(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	return fault.New("builder import reads the tarball of a root file system, as docker export writes it;\n"+
		"for an archive of images: builder load", "not a tarball: %w", err)
}
