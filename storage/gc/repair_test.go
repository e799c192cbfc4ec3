package gc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

func TestSoundStoreHasNoProblems(t *testing.T) {
	b := newBench(t)
	b.build(t, "one")
	b.build(t, "two")
	want(t, "check", b.check(t))
	done, err := b.Repair(context.Background(), b.trees)
	if err != nil || len(done) != 0 {
		t.Errorf("repaired %v, %v", done, err)
	}
}

func TestEachDamageIsFoundAndMended(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, b *bench, made built)
		found  []string
		image  bool // survives
		tree   bool // survives
		step   bool // survives, though it was damaged
	}{
		"layer missing": {
			damage: func(t *testing.T, b *bench, made built) { must(t, os.Remove(b.Layout.BlobPath(made.layer.Digest))) },
			found:  []string{"blob"}, image: true, tree: true,
		},
		"layer changed": {
			damage: func(t *testing.T, b *bench, made built) { flip(t, b.Layout.BlobPath(made.layer.Digest)) },
			found:  []string{"blob"}, image: true, tree: true,
		},
		"layer cut short": {
			damage: func(t *testing.T, b *bench, made built) {
				must(t, os.Truncate(b.Layout.BlobPath(made.layer.Digest), 5))
			},
			found: []string{"blob"}, image: true, tree: true,
		},
		"layer and its tree missing": {
			damage: func(t *testing.T, b *bench, made built) {
				must(t, os.Remove(b.Layout.BlobPath(made.layer.Digest)))
				must(t, os.RemoveAll(b.treePath(t, made.step)))
			},
			found: []string{"blob", "tree"},
		},
		"config changed": {
			damage: func(t *testing.T, b *bench, made built) { flip(t, b.Layout.BlobPath(made.id)) },
			found:  []string{"blob"}, tree: true,
		},
		"manifest missing": {
			damage: func(t *testing.T, b *bench, made built) { must(t, os.Remove(b.Layout.BlobPath(made.manifest.Digest))) },
			found:  []string{"blob", "(leftover)"}, tree: true,
		},
		"tree missing": {
			damage: func(t *testing.T, b *bench, made built) { must(t, os.RemoveAll(b.treePath(t, made.step))) },
			found:  []string{"tree"}, image: true,
		},
		"note of what was copied missing": {
			damage: func(t *testing.T, b *bench, made built) { must(t, os.Remove(b.sidePath(t, made.step, ".base"))) },
			found:  []string{"tree"}, image: true,
		},
		"note of what was copied torn": {
			damage: func(t *testing.T, b *bench, made built) { must(t, os.Truncate(b.sidePath(t, made.step, ".base"), 5)) },
			found:  []string{"tree"}, image: true,
		},
		"owners torn": {
			damage: func(t *testing.T, b *bench, made built) {
				must(t, os.WriteFile(b.sidePath(t, made.step, ".owners"), []byte(`{"a"`), 0o600))
			},
			found: []string{"tree"}, image: true,
		},
		"output missing": {
			damage: func(t *testing.T, b *bench, _ built) {
				step, err := b.Cache.Step(keyOf("key one"))
				must(t, err)
				step.Log = "/somewhere/else/gone.log"
				must(t, b.Cache.PutStep(step, slices.Values([]cache.Input{{Name: "env:A", Value: "b"}})))
			},
			found: []string{"step"}, image: true, tree: true, step: true,
		},
		"record torn": {
			damage: func(t *testing.T, b *bench, made built) { must(t, os.Truncate(b.Records.Path(made.step), 9)) },
			// The chain's alias and the step lead to it, and its tree is nobody's.
			found: []string{"record", "record", "step", "(leftover)"}, image: true,
		},
		"step torn": {
			damage: func(t *testing.T, b *bench, _ built) { must(t, os.Truncate(b.Cache.StepPath(keyOf("key one")), 9)) },
			found:  []string{"step"}, image: true, tree: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			made := b.build(t, "one")
			c.damage(t, b, made)
			found := b.check(t)
			slices.Sort(found)
			expected := slices.Clone(c.found)
			slices.Sort(expected)
			want(t, "check", found, expected...)

			done, err := b.Repair(context.Background(), b.trees)
			must(t, err)
			if len(done) == 0 {
				t.Error("nothing was repaired")
			}
			for _, kind := range b.check(t) {
				if kind != "(leftover)" {
					t.Errorf("after the repair: %s", kind)
				}
			}
			_, err = b.Layout.Find("one")
			if errors.Is(err, layout.ErrUnknown) == c.image {
				t.Errorf("image: %v; %v", err, done)
			}
			if b.trees.HasTree(made.step) && !c.tree {
				t.Error("the tree is still known")
			}
			if inputs, err := b.Cache.Inputs(keyOf("key one")); c.step && (err != nil || len(inputs) != 1) {
				t.Errorf("the step: inputs %v, %v", inputs, err)
			}
			if !c.image && !strings.Contains(fmt.Sprint(done), "pull or build it again") {
				t.Errorf("the lost image isn't told: %v", done)
			}
		})
	}
}

// flip changes one byte of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.WriteFile(path, data, 0o600))
}

func TestDamagedIndexIsBegunAnewWithTheImagesThatAreThere(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	must(t, os.WriteFile(b.indexPath(), []byte(`{"manifests":[`), 0o600))
	want(t, "check", b.check(t), "index")
	if _, err := b.FreeUnreferenced(context.Background(), layout.Free{Blobs: []digest.Digest{made.layer.Digest}}); err == nil {
		t.Error("blobs were freed though nobody knows what is needed")
	}
	done, err := b.Repair(context.Background(), nil)
	must(t, err)
	if img, err := b.Layout.Find(made.id.String()); err != nil || img.ID != made.id {
		t.Errorf("image: %v; %v", err, done)
	}
	want(t, "check", b.check(t))
}

func TestARepairOfTheIndexThatWasCutShortLosesNoImage(t *testing.T) {
	ctx := context.Background()
	for what, cut := range map[string]func(b *bench) error{
		"the index is gone":    func(b *bench) error { return os.Remove(b.indexPath()) },
		"the index is empty":   func(b *bench) error { return errors.Join(os.Remove(b.indexPath()), b.Layout.Create()) },
		"both names are there": func(*bench) error { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t)
			one, two := b.build(t, "one"), b.build(t, "two")
			must(t, os.WriteFile(b.indexPath(), []byte(`{"manifests":[`), 0o600))
			must(t, os.Link(b.indexPath(), b.Layout.DamagedPath()))
			must(t, cut(b))
			want(t, "check", b.check(t), "index")
			if _, err := b.FreeUnreferenced(ctx, layout.Free{Blobs: []digest.Digest{one.layer.Digest}}); err == nil {
				t.Error("blobs were freed though nobody knows what is needed")
			}
			must(t, os.Remove(filepath.Join(b.Locks, freedFile)))
			_, err := b.Repair(ctx, nil)
			must(t, err)
			for _, id := range []digest.Digest{one.id, two.id} {
				if _, err := b.Layout.Find(id.String()); err != nil {
					t.Errorf("image: %v", err)
				}
			}
			if old, err := os.ReadFile(b.Layout.DamagedPath()); err != nil || string(old) != `{"manifests":[` {
				t.Errorf("what was put aside: %q, %v", old, err)
			}
			want(t, "check", b.check(t))

			// Without any image the list is rightly empty.
			for _, id := range []digest.Digest{one.id, two.id} {
				done, err := b.Layout.Remove(ctx, id.String(), layout.RemoveOptions{})
				freed := done.Blobs
				must(t, err)
				_, err = b.FreeUnreferenced(ctx, layout.Free{Blobs: freed})
				must(t, err)
			}
			want(t, "check", b.check(t))
		})
	}
}

func TestARepairOfTheIndexPassesOverWhatIsNoImage(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	config, err := b.Layout.PutBytes(context.Background(), []byte("{}"))
	must(t, err)
	_, err = b.Layout.PutManifest(context.Background(), config, nil)
	must(t, err)
	must(t, os.WriteFile(b.indexPath(), nil, 0o600))
	_, err = b.Repair(context.Background(), nil)
	must(t, err)
	images, err := b.Layout.List()
	if err != nil || len(images) != 1 || images[0].ID != made.id {
		t.Errorf("images %v, %v", images, err)
	}
	done, err := b.Layout.Remove(context.Background(), made.id.String(), layout.RemoveOptions{})
	freed := done.Blobs
	must(t, err)
	_, err = b.FreeUnreferenced(context.Background(), layout.Free{Blobs: freed})
	must(t, err)
	want(t, "check of a list that is rightly empty", b.check(t), "(leftover)", "(leftover)")
}

func TestLeftoversAreHarmlessAndRemoved(t *testing.T) {
	b := newBench(t)
	b.build(t, "one")
	left := []string{
		filepath.Join(b.Sessions, "dead"), filepath.Join(b.Sessions, "dead.d"),
		filepath.Join(b.blobDir(), ".tmp-dead-1"), filepath.Join(b.Records.Dir(), ".tmp-x"),
		snapshot.TreePath(b.Snapshots, b.trees.Root(), "orphan"),
	}
	for _, path := range left {
		must(t, os.MkdirAll(path, 0o700))
	}
	must(t, os.WriteFile(filepath.Join(b.Sessions, "mine"), nil, 0o600))
	for _, kind := range b.check(t) {
		if kind != "(leftover)" {
			t.Errorf("found %s", kind)
		}
	}
	_, err := b.Repair(context.Background(), nil)
	must(t, err)
	for _, path := range left {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", path)
		}
	}
	want(t, "check", b.check(t))
	if _, err := os.Lstat(filepath.Join(b.Sessions, "mine")); err != nil {
		t.Error("the caller's own session was removed")
	}
}

func TestDamagedLayerOfAStepWithoutAnImageIsMended(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	_, err := b.Layout.Remove(context.Background(), "one", layout.RemoveOptions{})
	must(t, err)
	flip(t, b.Layout.BlobPath(made.layer.Digest))
	if found := b.check(t); !slices.Contains(found, "blob") {
		t.Errorf("found %q", found)
	}
	_, err = b.Repair(context.Background(), b.trees)
	must(t, err)
	if found := b.check(t); slices.Contains(found, "blob") || !b.Layout.HasBlob(made.layer.Digest, made.layer.Size) {
		t.Errorf("after the repair: %q", found)
	}
}

// What a power failure leaves of a blob that no image has yet: it wasn't synced.
func TestAStepsBlobThatIsShortIsHarmless(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	must(t, os.Truncate(b.Layout.BlobPath(made.layer.Digest), 0))
	want(t, "check with an image", b.check(t), "blob")
	_, err := b.Layout.Remove(context.Background(), "one", layout.RemoveOptions{})
	must(t, err)
	if found := b.check(t); !slices.Contains(found, "(blob)") || slices.Contains(found, "blob") {
		t.Errorf("found %q", found)
	}
}
