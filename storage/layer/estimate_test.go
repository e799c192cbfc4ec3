package layer

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestEstimateIsNoMoreThanTheBlobAndNotMuchLess(t *testing.T) {
	dir := t.TempDir()
	entry := func(name string, content []byte) *Entry {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, content, 0o600))
		return &Entry{Path: name, Type: TypeReg, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return os.Open(path) }}
	}
	noise := make([]byte, 4<<20)
	_, _ = rand.Read(noise)
	for name, tc := range map[string]struct {
		entries     []*Entry
		compression Compression
		least, most int64
	}{
		"noise":      {[]*Entry{entry("noise", noise)}, Gzip, 4<<20 - 1<<16, 4<<20 + 1<<16},
		"zeros":      {[]*Entry{entry("zeros", make([]byte, 8<<20))}, Gzip, 0, 1 << 20},
		"plain":      {[]*Entry{entry("plain", make([]byte, 3<<20))}, None, 3 << 20, 3 << 20},
		"small":      {[]*Entry{entry("small", noise[:1000])}, Zstd, 50, 1000},
		"half noise": {[]*Entry{entry("half", append(make([]byte, 4<<20), noise...))}, Zstd, 3 << 20, 5 << 20},
	} {
		got, err := Estimate(context.Background(), Entries(tc.entries), tc.compression)
		must(t, err)
		if got < tc.least || got > tc.most {
			t.Errorf("%s: %d bytes, and not from %d to %d", name, got, tc.least, tc.most)
		}
	}
}
