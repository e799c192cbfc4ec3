package layout_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

func TestWhatIndexJSONLacksIsLookedForBeyond(t *testing.T) {
	ctx := t.Context()
	l := newLayout(t)
	id := commit(t, l, []string{"app"}, "one")
	app, err := l.Find("app")
	must(t, err)
	removed, err := l.Remove(ctx, "app", layout.RemoveOptions{})
	must(t, err)
	if len(removed.Blobs) == 0 {
		t.Fatal("the image shared its blobs")
	}
	later := errors.New("later")
	l = l.WithBeyond(func(ref string) (layout.Image, error) {
		switch ref {
		case "0123456789ab":
			return app, nil
		case "ba9876543210":
			return layout.Image{}, later
		}
		return layout.Image{}, layout.ErrUnknown
	})
	if img, err := l.Find("0123456789ab"); err != nil || img.ID != id {
		t.Errorf("Find: %s, %v", img.ID, err)
	}
	if _, err := l.Find("ba9876543210"); !errors.Is(err, later) {
		t.Errorf("Find of what can't be made: %v", err)
	}
	if _, err := l.Find("app"); !errors.Is(err, layout.ErrUnknown) || fault.Remedy(err) == "" {
		t.Errorf("Find of what nobody knows: %v", err)
	}
	if _, err := l.Remove(ctx, "ba9876543210", layout.RemoveOptions{Force: true}); err == nil || !strings.Contains(err.Error(), "unable to delete ba9876543210") || fault.Code(err) != 1 {
		t.Errorf("Remove: %v", err)
	}
	must(t, l.Tag(ctx, "0123456789ab", "named"))
	if img, err := l.Named(id); err != nil || layout.Familiar(img.Name) != "named:latest" {
		t.Errorf("after Tag: %+v, %v", img, err)
	}
	if _, err := l.Named("sha256:0"); !errors.Is(err, layout.ErrUnknown) {
		t.Errorf("Named of what isn't there: %v", err)
	}
}
