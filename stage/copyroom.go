package stage

import (
	"archive/tar"
	"context"
	"io"

	"github.com/builder-oci/builder/storage/layer"
)

// holeSize is the size from which on files of zeros take no room.
const holeSize = 1 << 20

// bytes is how much room the selection's files take at least. An archive counts as it
// is, and a large file not at all where it seems to be nothing but zeros.
func (s *selection) bytes(ctx context.Context) (int64, error) {
	total := s.total
	if !s.holes {
		return total, nil
	}
	for i := range s.items {
		err := s.each(ctx, &s.items[i], func(f *File) error {
			if f.Type != tar.TypeReg || f.Size < holeSize {
				return nil
			}
			_, further, err := s.names.isAnother(f)
			if err == nil && !further && seemsEmpty(&f.Entry) {
				total -= f.Size
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// seemsEmpty looks at a few places of a file.
func seemsEmpty(e *layer.Entry) bool {
	const looks, block = 16, 512
	f, err := e.Open()
	if err != nil {
		return true // the copying will show it
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if !ok {
		return false
	}
	buf := make([]byte, block)
	for i := range int64(looks) {
		n, _ := at.ReadAt(buf, e.Size/looks*i)
		for _, b := range buf[:n] {
			if b != 0 {
				return false
			}
		}
	}
	return true
}
