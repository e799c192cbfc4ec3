package gc

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// keep makes a container's tree above parent, and gives its path.
func (b *bench) keep(t *testing.T, container string, parent snapshot.Key) string {
	t.Helper()
	a, err := b.trees.Prepare(context.Background(), parent)
	must(t, err)
	must(t, a.Keep(container))
	root, err := a.Mount(context.Background())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "own"), make([]byte, 1<<16), 0o644))
	must(t, a.Release())
	return a.Upper()
}

// stands says what of an image a container can be started from is there.
func (b *bench) stands(made built, tree string) []string {
	found := b.there(made, tree)
	slices.Sort(found)
	return slices.Compact(found)
}

func TestWhatAContainerStandsOnStays(t *testing.T) {
	ctx := context.Background()
	for name, free := range map[string]func(t *testing.T, b *bench){
		"image removed": func(*testing.T, *bench) {},
		"whole store looked through": func(t *testing.T, b *bench) {
			must(t, errors.Join(ignoreAbsent(os.Remove(filepath.Join(b.Locks, cleanedFile))), b.Tidy(ctx)))
		},
		"all swept": func(t *testing.T, b *bench) {
			_, err := b.SweepAll(ctx)
			must(t, err)
		},
		"cache pruned": func(t *testing.T, b *bench) {
			_, err := b.Prune(ctx, Limits{})
			must(t, err)
		},
		"cache pruned beside others": func(t *testing.T, b *bench) {
			o := b.beside(t)
			_, err := b.Prune(ctx, Limits{})
			must(t, err)
			must(t, b.Tidy(ctx))
			o.end()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			made := b.build(t, "one")
			tree := b.treePath(t, made.step)
			own := b.keep(t, "c0ffee", made.chain)
			if !strings.HasPrefix(name, "cache") {
				must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
			}
			b.removeByForce(t, "one")
			free(t, b)
			want(t, "with the container", b.stands(made, tree), "layer", "record", "tree")
			if _, err := os.Lstat(filepath.Join(own, "own")); err != nil {
				t.Error(err)
			}

			must(t, b.trees.RemoveKept("c0ffee"))
			free(t, b)
			must(t, b.Tidy(ctx))
			want(t, "without", b.stands(made, tree))
		})
	}
}

// removeByForce removes an image that a container may be made of.
func (b *bench) removeByForce(t *testing.T, name string) {
	t.Helper()
	removed, err := b.Layout.Remove(context.Background(), name, layout.RemoveOptions{Force: true})
	must(t, err)
	_, err = b.FreeUnreferenced(context.Background(), layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	must(t, err)
}

func TestWhatAContainerStandsOnStaysBesideOthers(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	tree := b.treePath(t, made.step)
	must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
	b.keep(t, "c0ffee", made.chain)
	b.beside(t)
	b.removeByForce(t, "one")
	want(t, "with the container", b.stands(made, tree), "layer", "record", "tree")
	must(t, b.trees.RemoveKept("c0ffee"))
	must(t, b.Tidy(context.Background()))
	want(t, "without", b.stands(made, tree))
}

// What only a container holds is neither the cache's nor an image's.
func TestACacheWithoutStepsHoldsNothingForContainers(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
	own := b.keep(t, "c0ffee", made.chain)
	b.removeByForce(t, "one")
	if d := b.usage(t, nobody); d.CacheBytes != 0 || len(d.Cache) != 0 || d.ImageBytes != 0 {
		t.Errorf("%+v", d)
	}
	size, err := diskUsage(own)
	must(t, err)
	if bytes, err := b.KeptBytes("c0ffee"); err != nil || bytes != size || bytes < 1<<16 {
		t.Errorf("%d of %d bytes: %v", bytes, size, err)
	}
	if bytes, err := b.RemoveKept("c0ffee"); err != nil || bytes != size {
		t.Errorf("removed %d of %d bytes: %v", bytes, size, err)
	}
	if bytes, err := b.KeptBytes("c0ffee"); err != nil || bytes != 0 {
		t.Errorf("when it is gone: %d bytes, %v", bytes, err)
	}
}

func TestAContainersTreeIsCheckedAndMended(t *testing.T) {
	for name, c := range map[string]struct {
		damage      func(t *testing.T, marker, tree string)
		found, left []string
	}{
		"whole":             {damage: func(*testing.T, string, string) {}},
		"marker unreadable": {damage: truncate, found: []string{"container"}},
		"tree missing": {
			damage: func(t *testing.T, _, tree string) { must(t, os.RemoveAll(tree)) }, found: []string{"container"},
		},
		"note of what was copied missing": {
			damage: func(t *testing.T, _, tree string) {
				must(t, os.Remove(filepath.Join(filepath.Dir(filepath.Dir(tree)), filepath.Base(tree)+".base")))
			},
			found: []string{"container"}, left: []string{"container"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			tree := b.keep(t, "c0ffee", b.build(t, "one").chain)
			c.damage(t, filepath.Join(snapshot.KeptDir(b.Snapshots), "c0ffee"), tree)
			want(t, "check", b.check(t), c.found...)
			_, err := b.Repair(context.Background(), b.trees)
			must(t, err)
			want(t, "after the repair", b.check(t), c.left...)
			if name == "whole" {
				_, err := b.trees.KeptChanges("c0ffee", snapshot.ChangeOptions{})
				must(t, err)
			}
		})
	}
}

func truncate(t *testing.T, marker, _ string) { must(t, os.Truncate(marker, 5)) }

// A driver's trees may stand on others than those that the records name now.
func TestTreesBelowAContainersStayWithoutARecord(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	own := b.keep(t, "c0ffee", made.chain)
	home := filepath.Join(b.Snapshots, "overlay-test")
	for _, id := range []string{"top", "below", "orphan"} {
		must(t, os.MkdirAll(filepath.Join(home, id, "diff"), 0o700))
	}
	must(t, os.Mkdir(filepath.Join(home, "l"), 0o700))
	must(t, os.Symlink("../below/diff", filepath.Join(home, "l/B")))
	must(t, os.WriteFile(filepath.Join(home, "top/lower"), []byte("l/B"), 0o600))
	marker := `{"owner":"decaf","root":"overlay-test","id":"top","parent":"` + string(made.chain) + `"}`
	must(t, os.WriteFile(filepath.Join(snapshot.KeptDir(b.Snapshots), "decaf"), []byte(marker), 0o600))
	_, err := b.SweepAll(context.Background())
	must(t, err)
	for path, stays := range map[string]bool{
		own: true, filepath.Join(home, "top"): true, filepath.Join(home, "below"): true, filepath.Join(home, "orphan"): false,
	} {
		if _, err := os.Lstat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Trees count in one boot: after it what a container stands on is unpacked again.
func TestTheBlobsThatAContainerStandsOnStay(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	made := b.build(t, "one")
	must(t, errors.Join(
		os.Remove(b.Cache.StepPath(keyOf("key one"))), b.Records.Remove(made.chain), b.Records.Remove(made.step),
	))
	must(t, b.trees.Unpack(ctx, []snapshot.UnpackLayer{{
		Key: made.chain, DiffID: made.chain, Size: made.layer.Size, Blob: made.layer.Digest,
		Open: func() (io.ReadCloser, error) { return os.Open(b.Layout.BlobPath(made.layer.Digest)) },
	}}, nil))
	tree := b.treePath(t, made.chain)
	b.keep(t, "c0ffee", made.chain)
	b.removeByForce(t, "one")
	_, err := b.SweepAll(ctx)
	must(t, err)
	want(t, "with the container", b.stands(made, tree), "layer", "record", "tree")
	want(t, "check", b.check(t))
	layers, err := b.Records.Layers(made.chain)
	if err != nil || len(layers) != 1 || layers[0].Blob.Digest != made.layer.Digest || layers[0].DiffID != made.chain {
		t.Errorf("got %v, %v", layers, err)
	}
	must(t, b.trees.RemoveKept("c0ffee"))
	must(t, b.Tidy(ctx))
	want(t, "without", b.stands(made, tree))
}
