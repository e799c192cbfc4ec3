package layout_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

// newLayout makes an empty layout.
func newLayout(t testing.TB) *layout.Layout {
	t.Helper()
	dir := t.TempDir()
	l := layout.Open(filepath.Join(dir, "images"), filepath.Join(dir, "index.lock"))
	if err := l.Create(); err != nil {
		t.Fatal(err)
	}
	return l.WithSession("test")
}

// putLayer stores a gzip layer with one file and gives its descriptor and diffID.
func putLayer(t testing.TB, l *layout.Layout, content string) (v1.Descriptor, digest.Digest) {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	must(t, w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content))}))
	_, err := w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
	z := gzip.NewWriter(&packed)
	_, err = z.Write(plain.Bytes())
	must(t, err)
	must(t, z.Close())
	d, err := l.PutBlob(context.Background(), &packed)
	must(t, err)
	d.MediaType = v1.MediaTypeImageLayerGzip
	return d, digest.FromBytes(plain.Bytes())
}

// putImage stores an image with a layer for each of contents, without a name.
func putImage(t testing.TB, l *layout.Layout, contents ...string) (v1.Descriptor, digest.Digest) {
	t.Helper()
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	cfg := &layout.ImageConfig{Created: &created, OS: "linux", Architecture: "amd64"}
	var layers []v1.Descriptor
	for _, c := range contents {
		d, diffID := putLayer(t, l, c)
		layers = append(layers, d)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, diffID)
		cfg.History = append(cfg.History, v1.History{CreatedBy: "COPY " + c})
	}
	manifest, id, err := layout.WriteImage(context.Background(), l, cfg, layers, layout.FormatOCI, nil)
	must(t, err)
	return manifest, id
}

// commit stores an image and names it.
func commit(t testing.TB, l *layout.Layout, names []string, contents ...string) digest.Digest {
	t.Helper()
	manifest, id := putImage(t, l, contents...)
	must(t, l.Commit(context.Background(), names, manifest, nil))
	return id
}

// listing is what List gives, as "name id" with the id's first twelve digits.
func listing(t testing.TB, l *layout.Layout) []string {
	t.Helper()
	images, err := l.List()
	must(t, err)
	var lines []string
	for _, img := range images {
		lines = append(lines, fmt.Sprintf("%s %s", layout.Familiar(img.Name), img.ID.Encoded()[:12]))
	}
	return lines
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
