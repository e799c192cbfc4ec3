package layer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"

	"github.com/builder-oci/builder/internal/fault"
)

// Compression is how a blob is compressed.
type Compression string

// The compressions that blobs are written with. Every registry and tool reads
// gzip; zstd is faster and smaller.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
	None Compression = "none"
)

// gzipBlock is the piece that one core compresses at a time. It shows in the
// blob's bytes, so changing it changes [PackerVersion].
const gzipBlock = 512 << 10

// maxGzipBlocks bounds the pieces in work, each of which takes about twice its
// size in memory.
const maxGzipBlocks = 8

// DefaultLevel is the level that is taken where none is asked for: the
// fastest one, because layers are written far more often than they grow old.
func DefaultLevel(c Compression) int {
	if c == None {
		return 0
	}
	return 1
}

// MediaType is the OCI media type of a layer compressed in this way.
func (c Compression) MediaType() string {
	switch c {
	case Gzip:
		return v1.MediaTypeImageLayerGzip
	case Zstd:
		return v1.MediaTypeImageLayerZstd
	}
	return v1.MediaTypeImageLayer
}

// level checks the options and gives the compressor's level.
func (o PackOptions) level() (int, error) {
	limit := 0
	switch o.Compression {
	case Gzip:
		limit = 9
	case Zstd:
		limit = 22
	case None:
	default:
		return 0, fault.New("use gzip, zstd or none", "unknown compression %q", o.Compression)
	}
	if o.Level < 0 || o.Level > limit {
		return 0, fault.New(fmt.Sprintf("use a level from 1 to %d", limit),
			"compression level %d is out of range for %s", o.Level, o.Compression)
	}
	if o.Level == 0 {
		return DefaultLevel(o.Compression), nil
	}
	return o.Level, nil
}

// compressor wraps w. How many cores there are changes the speed only.
func compressor(w io.Writer, c Compression, level int) (io.WriteCloser, error) {
	cores := runtime.GOMAXPROCS(0)
	switch c {
	case Gzip:
		z, err := pgzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(gzipBlock, min(cores+1, maxGzipBlocks))
	case Zstd:
		return zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
			zstd.WithEncoderConcurrency(max(2, min(cores, 4))))
	}
	return nopCloser{w}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// maxWindow is the largest window that a zstd stream may ask for, and the
// largest dictionary of an xz stream: what the strongest levels use. It keeps a
// stranger's blob from taking all memory.
const maxWindow = 128 << 20

// HeadSize is how many bytes tell how a stream is compressed.
const HeadSize = 6

// Compressor names what a stream that begins so was compressed by: "gzip",
// "zstd", "bzip2", "xz", or "none".
func Compressor(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return string(Gzip)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(head):
		return string(Zstd)
	case bytes.HasPrefix(head, []byte("BZh")):
		return "bzip2"
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return "xz"
	}
	return string(None)
}

// Decompress finds out by its first bytes how a stream is compressed, and gives
// its content and what [Compressor] calls it. The caller closes what it gets; r
// stays the caller's.
func Decompress(r io.Reader) (io.ReadCloser, string, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, err := b.Peek(HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	kind := Compressor(head)
	switch kind {
	case string(Gzip):
		z, err := pgzip.NewReader(b)
		return z, kind, err
	case string(Zstd):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(0))
		if err != nil {
			return nil, "", err
		}
		return z.IOReadCloser(), kind, nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(b)), kind, nil
	case "xz":
		z, err := xz.NewReader(newXZGuard(b))
		return io.NopCloser(z), kind, err
	}
	return io.NopCloser(b), kind, nil
}

// isSkippable tells the frames that zstd:chunked streams can begin with.
func isSkippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}
