package transport_test

import (
	"path/filepath"
	"testing"

	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// Anybody can copy an image's config, and with it the image's id, and put other
// layers under it.
func TestALiarWithTheSameIDIsNotTakenForAnImage(t *testing.T) {
	arch := platform.Here().Architecture
	var layouts []*layout.Layout
	for range 2 {
		dir := t.TempDir()
		l := layout.Open(filepath.Join(dir, "images"), filepath.Join(dir, "lock"))
		must(t, l.Create())
		layouts = append(layouts, l)
	}
	honest, lying := layouts[0], layouts[1]
	image := makeImage(t, honest, []string{"a"}, layout.FormatOCI, arch, "good")
	config, err := honest.Config(image)
	must(t, err)
	evil, err := lying.Manifest(makeImage(t, lying, nil, layout.FormatOCI, arch, "evil"))
	must(t, err)
	lie, id, err := layout.WriteImage(ctx, lying, config, evil.Layers, layout.FormatOCI, nil)
	must(t, err)
	must(t, lying.Commit(ctx, []string{"a:latest"}, lie, nil))
	if id != image.ID {
		t.Fatalf("the lie has the id %s, not %s", id, image.ID)
	}

	o := newOptions(t)
	_, err = transport.Adopt(ctx, source(t, "oci:"+lying.Dir()+"@"+lie.Digest.String()), o)
	must(t, err)
	got, err := transport.Adopt(ctx, source(t, "oci:"+honest.Dir()), o)
	must(t, err)
	if got.ID != image.ID || got.Manifest.Digest != image.Manifest.Digest {
		t.Errorf("of %s was adopted %s", image.Manifest.Digest, got.Manifest.Digest)
	}
	if _, err := o.Layout.Manifest(got); err != nil {
		t.Error(err)
	}
}
