package layout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

func TestHistoryHasTheLastStepFirst(t *testing.T) {
	l := newLayout(t)
	first, firstDiff := putLayer(t, l, "one")
	second, secondDiff := putLayer(t, l, "two")
	second.MediaType = v1.MediaTypeImageLayerZstd // as far as it is told: nobody reads it
	second.Annotations = map[string]string{layout.UncompressedSize: "4321"}
	created := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	cfg := &layout.ImageConfig{
		Created: &created, OS: "linux", Architecture: "amd64",
		RootFS: v1.RootFS{DiffIDs: []digest.Digest{firstDiff, secondDiff}},
		History: []v1.History{
			{CreatedBy: "ADD one", Created: &created}, {CreatedBy: "ENV A=b", EmptyLayer: true}, {CreatedBy: "ADD two", Comment: "c"},
		},
	}
	ctx := context.Background()
	manifest, _, err := layout.WriteImage(ctx, l, cfg, []v1.Descriptor{first, second}, layout.FormatOCI, nil)
	must(t, err)
	must(t, l.Commit(ctx, []string{"app"}, manifest, nil))
	must(t, l.Tag(ctx, "app", "again"))
	img, err := l.Find("again")
	must(t, err)
	if want := int64(2048 + 4321); img.Size != want {
		t.Errorf("the image has %d bytes, not %d", img.Size, want)
	}
	steps, err := l.History(img)
	must(t, err)
	var got []string
	for _, s := range steps {
		got = append(got, fmt.Sprint(s.CreatedBy, " ", s.Size, " ", len(s.DiffIDs), " ", s.Layer != nil))
	}
	if want := []string{"ADD two 4321 2 true", "ENV A=b 0 1 false", "ADD one 2048 1 true"}; !slices.Equal(got, want) {
		t.Errorf("the history is %q, not %q", got, want)
	}
	m, err := l.Manifest(img)
	must(t, err)
	if m.Layers[1].Annotations[layout.UncompressedSize] != "4321" {
		t.Errorf("the size of the layer is lost: %v", m.Layers[1])
	}

	cfg.History[1].EmptyLayer = false
	manifest, _, err = layout.WriteImage(ctx, l, cfg, []v1.Descriptor{first, second}, layout.FormatOCI, nil)
	must(t, err)
	must(t, l.Commit(ctx, []string{"bad"}, manifest, nil))
	img, err = l.Find("bad")
	must(t, err)
	if _, err := l.History(img); !errors.Is(err, layout.ErrInvalid) {
		t.Errorf("a history of more layers than there are: %v", err)
	}
}
