package layer

import (
	"compress/flate"
	"context"
	"io"
)

const (
	// sampledFile is the size from which on it is looked how a file compresses,
	// and sampledFiles of how many that is done: what text, programs and pictures
	// are is much the same in one layer.
	sampledFile  = 1 << 20
	sampledFiles = 48
	// samples of sampleSize are taken of a file.
	samples    = 4
	sampleSize = 32 << 10
	// smallRatio is how small the small files become at least.
	smallRatio = 0.1
)

// Estimate tells about how many bytes the blob of src will have, from a few pieces of
// its large files. It errs on the side of too few.
func Estimate(ctx context.Context, src Source, c Compression) (int64, error) {
	var plain, small int64
	var large float64
	looks, ratio := 0, smallRatio
	err := src.Walk(ctx, func(e *Entry) error {
		if e.Type != TypeReg {
			return nil
		}
		switch plain += e.Size; {
		case c == None:
			return nil
		case e.Size < sampledFile:
			small += e.Size
			return nil
		}
		if looks < sampledFiles {
			found, err := ratioOf(e)
			if err != nil {
				return err
			}
			ratio = found
			looks++
		}
		large += ratio * float64(e.Size)
		return nil
	})
	if c == None {
		return plain, err
	}
	return int64(large + smallRatio*float64(small)), err
}

// ratioOf compresses a few pieces of a file.
func ratioOf(e *Entry) (float64, error) {
	f, err := e.Open()
	if err != nil {
		return 0, pathError("open", e.Path, err)
	}
	defer func() { _ = f.Close() }()
	at, ok := f.(io.ReaderAt)
	if !ok {
		return smallRatio, nil
	}
	out := &counter{}
	w, err := flate.NewWriter(out, flate.BestSpeed)
	if err != nil {
		return 0, err
	}
	var in int64
	for i := range int64(samples) {
		n, err := io.Copy(w, io.NewSectionReader(at, e.Size/samples*i, sampleSize))
		if err != nil {
			return 0, pathError("read", e.Path, err)
		}
		in += n
	}
	if err := w.Close(); err != nil || in == 0 {
		return smallRatio, err
	}
	return min(float64(out.n)/float64(in), 1), nil
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
