package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
)

const (
	// largestManifest is how much is read of a manifest, index or config: what
	// registries take at most.
	largestManifest = 4 << 20
	// syncsAtOnce is how many files are synced side by side.
	syncsAtOnce = 8
	copyBuffer  = 256 << 10
)

// blobDir holds all blobs: builder stores none but sha256 ones.
func (l *Layout) blobDir() string {
	return filepath.Join(l.dir, v1.ImageBlobsDir, digest.SHA256.String())
}

// BlobsDir is the directory that holds a directory for each digest algorithm.
func (l *Layout) BlobsDir() string { return filepath.Join(l.dir, v1.ImageBlobsDir) }

// BlobPath is where the blob d is, or would be.
func (l *Layout) BlobPath(d digest.Digest) string {
	if !validDigest(d) {
		return filepath.Join(l.blobDir(), "invalid") // no blob bears this name
	}
	return filepath.Join(l.blobDir(), d.Encoded())
}

// HasBlob tells whether the blob d is there with size bytes; any size will do
// where size is negative. The content isn't read.
func (l *Layout) HasBlob(d digest.Digest, size int64) bool {
	st, err := os.Lstat(l.BlobPath(d))
	return err == nil && st.Mode().IsRegular() && (size < 0 || st.Size() == size)
}

// OpenBlob opens a blob for reading. Its content isn't checked; what isn't
// there or has another size is ErrAbsent. The caller closes it.
func (l *Layout) OpenBlob(d v1.Descriptor) (*os.File, error) {
	if !l.HasBlob(d.Digest, d.Size) {
		return nil, fmt.Errorf("%w: %s", ErrAbsent, d.Digest)
	}
	return os.Open(l.BlobPath(d.Digest))
}

// ReadBlob gives the content of a manifest, index or config, checked against
// its digest. One that fails is ErrAbsent, as is one beyond 4 MiB. Any other
// error says nothing of the blob: it may be readable in a moment.
func (l *Layout) ReadBlob(d digest.Digest) ([]byte, error) {
	data, err := readFile(l.BlobPath(d), largestManifest)
	switch {
	case errors.Is(err, errTooLarge) || errors.Is(err, errNotFile):
		return nil, fmt.Errorf("%w: %s %w", ErrAbsent, d, err)
	case errors.Is(err, fs.ErrNotExist) || err == nil && digest.FromBytes(data) != d:
		return nil, fmt.Errorf("%w: %s", ErrAbsent, d)
	}
	return data, err
}

var (
	errTooLarge = errors.New("is larger than")
	errNotFile  = errors.New("is no plain file")
)

// readFile reads a file of most bytes at most.
func readFile(path string, most int64) ([]byte, error) {
	var data bytes.Buffer
	err := copyFile(&data, path, most)
	return data.Bytes(), err
}

// readText is readFile into a string, of which there is no second copy.
func readText(path string, most int64) (string, error) {
	var text strings.Builder
	err := copyFile(&text, path, most)
	return text.String(), err
}

// copyFile reads a file, of most bytes at most. One that isn't plain, as a FIFO
// that nobody writes to, is not waited for.
func copyFile(to interface {
	io.Writer
	Grow(n int)
}, path string, most int64,
) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errNotFile
	}
	if st.Size() > most {
		return fmt.Errorf("%w %d MiB", errTooLarge, most>>20)
	}
	to.Grow(int(st.Size()))
	buffer := make([]byte, min(st.Size()+1, copyBuffer))
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{io.LimitReader(f, most+1)}, buffer)
	if err == nil && n > most { // it has grown
		return fmt.Errorf("%w %d MiB", errTooLarge, most>>20)
	}
	return err
}

// PutBlob stores what r gives. It is whole under its name when PutBlob returns,
// but not synced: Commit does that.
func (l *Layout) PutBlob(ctx context.Context, r io.Reader) (v1.Descriptor, error) {
	w, err := l.NewBlobWriter(l.session)
	if err != nil {
		return v1.Descriptor{}, err
	}
	digester := digest.SHA256.Digester()
	buffer := make([]byte, copyBuffer)
	if _, err := io.CopyBuffer(io.MultiWriter(w, digester.Hash()), ReaderWithContext(ctx, r), buffer); err != nil {
		return v1.Descriptor{}, errors.Join(err, w.Cancel())
	}
	d := v1.Descriptor{Digest: digester.Digest(), Size: w.Size()}
	return d, w.Commit(d.Digest)
}

// PutBytes is PutBlob for a manifest, an index or a config. One that is there
// already and right is left alone; a damaged one is replaced.
func (l *Layout) PutBytes(ctx context.Context, data []byte) (v1.Descriptor, error) {
	d := digest.FromBytes(data)
	if err := l.lease(d); err != nil {
		return v1.Descriptor{}, err
	}
	if _, err := l.ReadBlob(d); err == nil {
		return v1.Descriptor{Digest: d, Size: int64(len(data))}, nil
	}
	return l.PutBlob(ctx, bytes.NewReader(data))
}

// A BlobWriter writes one blob aside. Either Commit or Cancel ends it.
type BlobWriter struct {
	file   *os.File
	layout *Layout
	size   int64
}

// NewBlobWriter begins a blob. Its temporary file bears session in its name, so
// that it can be swept when that session has died.
func (l *Layout) NewBlobWriter(session string) (*BlobWriter, error) {
	f, err := os.CreateTemp(l.blobDir(), atomicfile.Prefix+session+"-*")
	if err != nil {
		return nil, err
	}
	return &BlobWriter{file: f, layout: l}, nil
}

// Write appends p to the blob.
func (w *BlobWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.size += int64(n)
	return n, err
}

// Size is how many bytes have been written so far.
func (w *BlobWriter) Size() int64 { return w.size }

// Commit makes what was written the blob d. The caller vouches for the digest:
// he has hashed the bytes on their way. The blob isn't synced. One that is there
// already and whole stays: it may be synced, and an image count on that.
func (w *BlobWriter) Commit(d digest.Digest) error {
	if !validDigest(d) {
		return errors.Join(fmt.Errorf("blob digest %q is not a sha256 one", d), w.Cancel())
	}
	// An image is public to whom the store's own mode lets in: other tools of
	// the same user read it from inside their user namespaces.
	if err := w.file.Chmod(0o644); err != nil {
		return errors.Join(err, w.Cancel())
	}
	if err := w.file.Close(); err != nil {
		return errors.Join(err, os.Remove(w.file.Name()))
	}
	if err := w.layout.lease(d); err != nil {
		return errors.Join(err, os.Remove(w.file.Name()))
	}
	if w.layout.verified(v1.Descriptor{Digest: d, Size: w.size}) {
		return os.Remove(w.file.Name())
	}
	if err := os.Rename(w.file.Name(), w.layout.BlobPath(d)); err != nil {
		return errors.Join(err, os.Remove(w.file.Name()))
	}
	w.layout.written.Store(d, nil)
	return nil
}

// verified reads a blob, and reports whether it is what its name says.
func (l *Layout) verified(d v1.Descriptor) bool {
	f, err := l.OpenBlob(d)
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := digest.SHA256.FromReader(f)
	return err == nil && got == d.Digest
}

// Cancel throws away what was written.
func (w *BlobWriter) Cancel() error {
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

// SyncBlobs waits until the blobs and their names are on stable storage.
func (l *Layout) SyncBlobs(ctx context.Context, digests []digest.Digest) error {
	if len(digests) == 0 {
		return nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(syncsAtOnce)
	for _, d := range digests {
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			return syncFile(l.BlobPath(d))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(l.blobDir()); err != nil {
		return err
	}
	for _, d := range digests {
		l.written.Delete(d)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// ReaderWithContext gives r with reads that fail once the context has ended. One
// that waits goes on waiting.
func ReaderWithContext(ctx context.Context, r io.Reader) io.Reader { return &contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// validDigest is digest.Validate without its regular expression, for sha256
// alone: what passes is safe as a file name.
func validDigest(d digest.Digest) bool {
	const prefix, length = "sha256:", 64
	if len(d) != len(prefix)+length || d[:len(prefix)] != prefix {
		return false
	}
	return isHex(string(d[len(prefix):]))
}

// hexDigits has 1 for each digit of a digest. Every command looks at two digests
// of every image.
var hexDigits = [256]uint8{
	'0': 1, '1': 1, '2': 1, '3': 1, '4': 1, '5': 1, '6': 1, '7': 1, '8': 1, '9': 1,
	'a': 1, 'b': 1, 'c': 1, 'd': 1, 'e': 1, 'f': 1,
}

func isHex(s string) bool {
	all := uint8(1)
	for i := range len(s) {
		all &= hexDigits[s[i]]
	}
	return all == 1 && s != ""
}
