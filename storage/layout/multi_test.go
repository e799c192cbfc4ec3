package layout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

// adding is a change that adds a manifest to an index.
func adding(d v1.Descriptor) func(*v1.Index) error {
	return func(list *v1.Index) error {
		list.Manifests = append(list.Manifests, d)
		return nil
	}
}

func TestAnIndexGrowsUnderItsName(t *testing.T) {
	ctx, l := context.Background(), newLayout(t)
	_, err := l.NewMulti(ctx, "list", &v1.Index{})
	must(t, err)
	img, list, err := l.Multi("list")
	must(t, err)
	if img.ID != img.Target().Digest || len(list.Manifests) != 0 {
		t.Errorf("an empty index is %+v with %v", img, list.Manifests)
	}
	if _, err := l.Config(img); !errors.Is(err, layout.ErrInvalid) {
		t.Errorf("config of an empty index: %v", err)
	}
	if _, err := l.Manifest(img); !errors.Is(err, layout.ErrInvalid) {
		t.Errorf("manifest of an empty index: %v", err)
	}
	manifest, id := putImage(t, l, "one")
	must(t, l.Commit(ctx, []string{"app"}, manifest, nil))
	d, err := l.Listed(manifest)
	must(t, err)
	if d.Annotations != nil || d.Platform == nil || d.Platform.Architecture != "amd64" {
		t.Errorf("listed as %+v", d)
	}
	_, err = l.ChangeMulti(ctx, "list", adding(d))
	must(t, err)
	if got := strings.Join(listing(t, l), ", "); got != "list:latest "+id.Encoded()[:12]+", app:latest "+id.Encoded()[:12] {
		t.Errorf("images: %s", got)
	}

	// Its names are its own: what else has the image's id doesn't count.
	removed, err := l.Remove(ctx, "app", layout.RemoveOptions{})
	must(t, err)
	if len(removed.Blobs) != 0 {
		t.Errorf("freed though the list leads to them: %v", removed.Blobs)
	}
	if has, err := l.HasAll(img.Target()); err != nil || !has {
		t.Errorf("not all is here: %v", err)
	}
	removed, err = l.Remove(ctx, "list", layout.RemoveOptions{})
	must(t, err)
	if len(removed.Blobs) != 4 { // index, manifest, config, layer
		t.Errorf("freed %v", removed.Blobs)
	}
}

func TestChangesOfAnIndexAtOnceAreAllThere(t *testing.T) {
	ctx, l := context.Background(), newLayout(t)
	_, err := l.NewMulti(ctx, "list", &v1.Index{})
	must(t, err)
	const writers = 8
	var group sync.WaitGroup
	for i := range writers {
		manifest, _ := putImage(t, l, fmt.Sprint(i))
		group.Go(func() {
			if _, err := l.ChangeMulti(ctx, "list", adding(manifest)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	_, list, err := l.Multi("list")
	must(t, err)
	if len(list.Manifests) != writers {
		t.Errorf("%d of %d manifests", len(list.Manifests), writers)
	}
	if lines := listing(t, l); len(lines) != 1 {
		t.Errorf("images: %v", lines)
	}
}

func TestWhatIsNoIndexIsSaidSo(t *testing.T) {
	ctx, l := context.Background(), newLayout(t)
	commit(t, l, []string{"app"}, "one")
	if _, _, err := l.Multi("app"); !errors.Is(err, layout.ErrNoIndex) {
		t.Errorf("an image: %v", err)
	}
	if _, _, err := l.Multi("nothing"); !errors.Is(err, layout.ErrUnknown) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := l.NewMulti(ctx, "app", &v1.Index{}); !errors.Is(err, layout.ErrTaken) {
		t.Errorf("a taken name: %v", err)
	}
	stop := errors.New("stop")
	_, err := l.NewMulti(ctx, "list", &v1.Index{})
	must(t, err)
	if _, err := l.ChangeMulti(ctx, "list", func(*v1.Index) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a change that fails: %v", err)
	}
}

func TestHasAllFindsWhatIsMissing(t *testing.T) {
	ctx, l := context.Background(), newLayout(t)
	manifest, id := putImage(t, l, "one", "two")
	d, err := l.NewMulti(ctx, "list", &v1.Index{Manifests: []v1.Descriptor{manifest}})
	must(t, err)
	if has, err := l.HasAll(d); err != nil || !has {
		t.Errorf("whole: %v, %v", has, err)
	}
	for what, path := range map[string]string{"config": l.BlobPath(id), "manifest": l.BlobPath(manifest.Digest)} {
		must(t, os.Rename(path, path+"-away"))
		if has, err := l.HasAll(d); err != nil || has {
			t.Errorf("without %s: %v, %v", what, has, err)
		}
		must(t, os.Rename(path+"-away", path))
	}
}
