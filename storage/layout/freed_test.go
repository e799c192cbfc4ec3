package layout_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layout"
)

func TestTheListOfWhatIsFreeEndsWithItsLastEntry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "freed")
	l := newLayout(t).WithFreed(file)
	must(t, l.NoteFree(layout.Free{}))
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing is noted in a file: %v", err)
	}
	free := layout.Free{
		Blobs:  []digest.Digest{digest.FromString("one"), digest.FromString("two")},
		Layers: []layout.FreeLayer{{ChainID: digest.FromString("chain"), Blob: digest.FromString("blob")}},
		All:    true,
	}
	must(t, l.NoteFree(free))
	got, err := l.ReadFree()
	must(t, err)
	if !reflect.DeepEqual(got, free) {
		t.Errorf("read %+v, want %+v", got, free)
	}
	must(t, l.DropFree(layout.Free{Blobs: free.Blobs[:1], Layers: free.Layers}))
	got, err = l.ReadFree()
	must(t, err)
	if want := (layout.Free{Blobs: free.Blobs[1:], Layers: []layout.FreeLayer{}, All: true}); !reflect.DeepEqual(got, want) && len(got.Layers) > 0 {
		t.Errorf("read %+v, want %+v", got, want)
	}
	must(t, l.DropFree(layout.Free{Blobs: free.Blobs, All: true}))
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the list is empty and there: %v", err)
	}
	// What a full disk or a kill has cut short was there for something.
	for _, cut := range []string{"", "sha256:12", "layer " + digest.FromString("old").String()} {
		must(t, os.WriteFile(file, []byte(cut), 0o600))
		if got, err = l.ReadFree(); err != nil || !got.All {
			t.Errorf("%q: %+v, %v", cut, got, err)
		}
	}
}

// An image that has come since a layer was noted as free has it again.
func TestLayersThatAnImageHas(t *testing.T) {
	l := newLayout(t)
	commit(t, l, []string{"app"}, "one", "two")
	commit(t, l, []string{"other"}, "one", "three")
	done, err := l.Remove(context.Background(), "app", layout.RemoveOptions{Force: true})
	must(t, err)
	base := done.Layers
	done, err = l.Remove(context.Background(), "other", layout.RemoveOptions{})
	must(t, err)
	layers := append(base, done.Layers...)
	if len(layers) != 3 {
		t.Fatalf("%v", layers)
	}
	used, err := l.UsedLayers(layers)
	must(t, err)
	if len(used) > 0 {
		t.Errorf("used by nobody, but %v", used)
	}
	commit(t, l, []string{"again"}, "one", "two")
	used, err = l.UsedLayers(layers)
	must(t, err)
	if want := []digest.Digest{layers[0].ChainID, layers[2].ChainID}; !reflect.DeepEqual(used, want) && len(used) != 2 {
		t.Errorf("used %v, want %v", used, want)
	}
}
