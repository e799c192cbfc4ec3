package gc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

// stack names an image of the layers of others.
func (b *bench) stack(t *testing.T, name string, of ...built) digest.Digest {
	t.Helper()
	config := &layout.ImageConfig{OS: "linux", Architecture: "amd64"}
	var layers []v1.Descriptor
	for _, made := range of {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, made.chain)
		layers = append(layers, made.layer)
	}
	for i, chain := range chainIDs(config.RootFS.DiffIDs) {
		must(t, b.Records.LinkChain(chain, of[i].step))
	}
	manifest, id, err := layout.WriteImage(context.Background(), b.Layout, config, layers, layout.FormatOCI, nil)
	must(t, err)
	must(t, b.Layout.Commit(context.Background(), []string{name}, manifest, nil))
	return id
}

// onDisk sums up what du says of the trees, and the lengths of all blobs.
func (b *bench) onDisk(t *testing.T) int64 {
	t.Helper()
	var bytes int64
	must(t, b.eachBlob(func(_ digest.Digest, st fs.FileInfo) { bytes += st.Size() }))
	trees := filepath.Join(b.Snapshots, b.trees.Root(), "dir")
	names, err := os.ReadDir(trees)
	must(t, err)
	for _, name := range names {
		size, err := diskUsage(filepath.Join(trees, name.Name()))
		must(t, err)
		bytes += size
	}
	return bytes
}

func nobody(digest.Digest) bool { return false }

func (b *bench) usage(t *testing.T, used func(digest.Digest) bool) *DiskUsage {
	t.Helper()
	d, err := b.DiskUsage(used)
	must(t, err)
	return d
}

func TestUniqueBytesAreThoseThatGetFree(t *testing.T) {
	b := newBench(t)
	ids, steps := map[string]digest.Digest{}, map[string]built{}
	for _, name := range []string{"base", "app", "other"} {
		made := b.build(t, name)
		ids[name], steps[name] = made.id, made
	}
	ids["one"] = b.stack(t, "one", steps["base"], steps["app"])
	ids["two"] = b.stack(t, "two", steps["base"], steps["other"])
	// The step of app stays in the cache, and keeps its tree.
	must(t, errors.Join(os.Remove(b.Cache.StepPath(keyOf("key base"))), os.Remove(b.Cache.StepPath(keyOf("key other")))))

	d := b.usage(t, nobody)
	if disk := b.onDisk(t); d.ImageBytes != disk {
		t.Errorf("images take %d bytes, and on the disk there are %d", d.ImageBytes, disk)
	}
	one, two := d.Images[ids["one"]], d.Images[ids["two"]]
	if one.Unique == 0 || one.Shared == 0 || two.Unique == 0 || two.Shared == 0 {
		t.Errorf("of two images of one base: %+v, %+v", one, two)
	}
	for _, name := range []string{"other", "two", "one", "app", "base"} {
		unique, before := b.usage(t, nobody).Images[ids[name]].Unique, b.onDisk(t)
		freed := b.remove(t, name)
		if gone := before - b.onDisk(t); gone != unique || freed.Bytes != gone {
			t.Errorf("%s: %d bytes are free, %d were its own, %d are told", name, gone, unique, freed.Bytes)
		}
	}
	d = b.usage(t, nobody)
	if disk := b.onDisk(t); len(d.Images) > 0 || d.ImageBytes != 0 || d.CacheBytes < disk || disk == 0 {
		t.Errorf("without images: %+v; on the disk %d", d, disk)
	}
}

func TestReclaimableIsWhatNoContainerUses(t *testing.T) {
	b := newBench(t)
	base, app := b.build(t, "base"), b.build(t, "app")
	used := b.stack(t, "one", base, app)
	for _, name := range []string{"base", "app"} {
		must(t, os.Remove(b.Cache.StepPath(keyOf("key "+name))))
	}
	if d := b.usage(t, nobody); d.ImagesReclaimable != d.ImageBytes {
		t.Errorf("of %d bytes %d can be had back", d.ImageBytes, d.ImagesReclaimable)
	}
	d := b.usage(t, func(id digest.Digest) bool { return id == used })
	before := b.onDisk(t)
	b.remove(t, "base")
	b.remove(t, "app")
	if gone := before - b.onDisk(t); gone != d.ImagesReclaimable || gone == 0 {
		t.Errorf("%d bytes are free, and %d were told", gone, d.ImagesReclaimable)
	}
}
