package layer

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// PackerVersion changes whenever the same tree and options may give another
// blob: it names this package's format and the compressors that take part.
const PackerVersion = "3 pgzip-1.2.6 compress-1.18.3"

// PackOptions choose the form of a blob.
type PackOptions struct {
	Compression Compression
	// Level is the compressor's own; zero stands for [DefaultLevel].
	Level int
	Time  TimeRule
	// Foreign are times that no command chose, though one may have kept them
	// when it moved or copied a file.
	Foreign *Times
}

// Packed is what came out of [Pack].
type Packed struct {
	// DiffID is the digest of the uncompressed tar.
	DiffID digest.Digest
	// Blob has the media type, digest and size of what was written.
	Blob v1.Descriptor
	// TarSize is the length of the uncompressed tar in bytes.
	TarSize int64
	// Entries counts what stands in the layer, without directories that only
	// come along. Where it is zero there is nothing to make a layer of.
	Entries int
}

// Pack writes src to w as one blob, in a single pass: the tar is made, digested
// and compressed at the same time, on as many cores as there are, in bounded
// memory. The bytes depend on src and o alone. An error leaves a part of the
// blob in w.
func Pack(ctx context.Context, src Source, w io.Writer, o PackOptions) (Packed, error) {
	o.Time.foreign = o.Foreign
	if s, ok := src.(timed); ok {
		src = s.timed(o.Time)
	}
	p := &packing{diffID: sha256.New()}
	p.fill = func(ctx context.Context, c *chunker) error {
		t := &tarWriter{w: c, time: o.Time}
		if err := src.Walk(ctx, t.add); err != nil {
			return err
		}
		p.entries = t.count
		return t.end()
	}
	return p.run(ctx, w, o)
}

// run makes the blob.
func (p *packing) run(ctx context.Context, w io.Writer, o PackOptions) (Packed, error) {
	level, err := o.level()
	if err != nil {
		return Packed{}, err
	}
	blob := &digester{w: w, hash: sha256.New()}
	if o.Compression == None {
		// The tar is the blob: one digest serves for both.
		p.diffID = nil
	}
	g, ctx := errgroup.WithContext(ctx)
	p.start(ctx, g, func() (io.WriteCloser, error) { return compressor(blob, o.Compression, level) })
	if err := g.Wait(); err != nil {
		return Packed{}, err
	}
	out := Packed{
		Blob:    v1.Descriptor{MediaType: o.Compression.MediaType(), Digest: digestOf(blob.hash), Size: blob.size},
		TarSize: p.size,
		Entries: p.entries,
	}
	out.DiffID = out.Blob.Digest
	if p.diffID != nil {
		out.DiffID = digestOf(p.diffID)
	}
	return out, nil
}

// timed is a Source that compares times, and has to know how they will be
// written.
type timed interface{ timed(TimeRule) Source }

// packing is the state of one Pack: a producer of chunks and its consumers.
type packing struct {
	fill    func(context.Context, *chunker) error
	diffID  hash.Hash // nil where the blob's digest is the diffID
	entries int
	size    int64
}

func (p *packing) start(ctx context.Context, g *errgroup.Group, open func() (io.WriteCloser, error)) {
	c := newChunker(ctx)
	compress := c.consumer()
	var digested <-chan *chunk
	if p.diffID != nil {
		digested = c.consumer()
	}
	g.Go(func() error {
		defer c.close()
		return p.produce(ctx, c)
	})
	if p.diffID != nil {
		g.Go(func() error {
			for ch := range digested {
				p.diffID.Write(ch.bytes())
				ch.release()
			}
			return nil
		})
	}
	g.Go(func() error {
		w, err := open()
		if err != nil {
			return err
		}
		for ch := range compress {
			_, err := w.Write(ch.bytes())
			ch.release()
			if err != nil {
				// The group's context ends with this error, and with it the
				// producer: nobody has to drain the channel.
				_ = w.Close()
				return err
			}
		}
		return w.Close()
	})
}

func (p *packing) produce(ctx context.Context, c *chunker) error {
	if err := p.fill(ctx, c); err != nil {
		return err
	}
	err := c.flush()
	p.size = c.total
	return err
}

// digester digests and counts what it passes on.
type digester struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func (d *digester) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.hash.Write(p[:n])
	d.size += int64(n)
	return n, err
}

func digestOf(h hash.Hash) digest.Digest { return digest.NewDigest(digest.SHA256, h) }
