package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/storage/layer"
)

func newRecords(t *testing.T) *Records {
	t.Helper()
	dir := t.TempDir()
	return OpenRecords(dir, filepath.Join(t.TempDir(), "lock"))
}

func TestPackingIsFoundByWhatDecidesItsBytes(t *testing.T) {
	r := newRecords(t)
	key := keyOf("k")
	gzip := Packing{Compression: "gzip", Level: 1, Packer: "1", Exact: true, DiffID: keyOf("tar"), Blob: v1.Descriptor{Size: 7}}
	must(t, r.AddPacking(key, gzip))
	for name, change := range map[string]func(*Packing){
		"time":        func(p *Packing) { p.Time = layer.TimeRule{Mode: "clamp", Epoch: 1} },
		"compression": func(p *Packing) { p.Compression = "zstd" },
		"level":       func(p *Packing) { p.Level = 2 },
		"packer":      func(p *Packing) { p.Packer = "2" },
		"owners":      func(p *Packing) { p.Exact = false },
	} {
		other := gzip
		change(&other)
		if _, ok := r.Packing(key, other); ok {
			t.Errorf("found with another %s", name)
		}
	}
	want := gzip
	want.DiffID, want.Blob = "", v1.Descriptor{}
	if got, ok := r.Packing(key, want); !ok || got.Blob.Size != 7 {
		t.Errorf("got %+v, %v", got, ok)
	}
	gzip.Blob.Size = 8
	must(t, r.AddPacking(key, gzip))
	rec, err := r.Get(key)
	must(t, err)
	if len(rec.Packings) != 1 || rec.Packings[0].Blob.Size != 8 {
		t.Errorf("a second packing of the same bytes: %+v", rec.Packings)
	}
}

func TestLinkedChainHasTheStepsPackings(t *testing.T) {
	r := newRecords(t)
	must(t, r.AddPacking(keyOf("step"), Packing{Compression: "gzip"}))
	must(t, r.LinkChain(keyOf("chain"), keyOf("step")))
	if _, ok := r.Packing(keyOf("chain"), Packing{Compression: "gzip"}); !ok {
		t.Error("not found through the chain ID")
	}
}

func TestTornRecordCountsAsAbsent(t *testing.T) {
	r := newRecords(t)
	must(t, r.AddPacking(keyOf("k"), Packing{}))
	for _, content := range []string{"", `{"key":"sha256:12`, `{"key":"another"}`} {
		must(t, os.WriteFile(r.Path(keyOf("k")), []byte(content), 0o600))
		if _, err := r.Get(keyOf("k")); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", content, err)
		}
	}
	must(t, r.AddPacking(keyOf("k"), Packing{}))
	_, err := r.Get(keyOf("k"))
	must(t, err)
}

func TestChangesAtOnceLoseNothing(t *testing.T) {
	r := newRecords(t)
	var workers errgroup.Group
	for level := range 20 {
		workers.Go(func() error { return r.AddPacking(keyOf("k"), Packing{Level: level}) })
	}
	must(t, workers.Wait())
	rec, err := r.Get(keyOf("k"))
	must(t, err)
	if len(rec.Packings) != 20 {
		t.Errorf("%d packings of 20", len(rec.Packings))
	}
}

func TestKeysPassesOverWhatIsBeingWritten(t *testing.T) {
	r := newRecords(t)
	for i := range 3 {
		must(t, r.AddPacking(keyOf(fmt.Sprint(i)), Packing{}))
	}
	must(t, os.WriteFile(filepath.Join(r.dir, ".tmp-x"), nil, 0o600))
	keys, err := r.Keys()
	must(t, err)
	if len(keys) != 3 {
		t.Errorf("%v", keys)
	}
	must(t, r.Sync(context.Background(), append(keys, keyOf("unknown"))...))
}

// A step that an image's layer is an alias of stands on other steps.
func TestLayersAreFoundFromRecordsAlone(t *testing.T) {
	r := newRecords(t)
	add := func(name, parent string) {
		must(t, r.AddPacking(keyOf(name), Packing{DiffID: keyOf("diff " + name), Blob: v1.Descriptor{Digest: keyOf("blob " + name)}}))
		must(t, r.update(keyOf(name), func(rec *Record) error {
			if parent != "" {
				rec.Parent = keyOf(parent)
			}
			return nil
		}))
	}
	add("base", "")
	add("step", "base")
	must(t, r.LinkChain(keyOf("chain"), keyOf("step")))
	layers, err := r.Layers(keyOf("chain"))
	must(t, err)
	want := []PackedLayer{
		{Key: keyOf("base"), DiffID: keyOf("diff base"), Blob: v1.Descriptor{Digest: keyOf("blob base")}},
		{Key: keyOf("chain"), DiffID: keyOf("diff step"), Blob: v1.Descriptor{Digest: keyOf("blob step")}},
	}
	if !reflect.DeepEqual(layers, want) {
		t.Errorf("got %v", layers)
	}
	must(t, r.LinkChain(keyOf("unpacked"), keyOf("nowhere")))
	if _, err := r.Layers(keyOf("unpacked")); !errors.Is(err, ErrNotFound) {
		t.Errorf("of what was never packed: %v", err)
	}
}
