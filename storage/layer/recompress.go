package layer

import (
	"context"
	"crypto/sha256"
	"io"
)

// Recompress writes a blob in another form: with the compression and level of o,
// and the very tar, so that the DiffID stays. It makes one pass, as [Pack] does,
// and counts no entries. The blob isn't checked: that is for who knows its
// DiffID.
func Recompress(ctx context.Context, blob io.Reader, w io.Writer, o PackOptions) (Packed, error) {
	p := &packing{diffID: sha256.New()}
	p.fill = func(_ context.Context, c *chunker) error {
		plain, _, err := Decompress(blob)
		if err != nil {
			return err
		}
		defer plain.Close()
		_, err = io.Copy(chunkWriter{c}, plain)
		return err
	}
	return p.run(ctx, w, o)
}

// chunkWriter makes an io.Writer of a chunker.
type chunkWriter struct{ c *chunker }

func (w chunkWriter) Write(p []byte) (int, error) {
	if err := w.c.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
