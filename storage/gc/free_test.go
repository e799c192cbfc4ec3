package gc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// remove takes an image's name away, and frees what it held.
func (b *bench) remove(t *testing.T, name string) Freed {
	t.Helper()
	removed, err := b.Layout.Remove(context.Background(), name, layout.RemoveOptions{})
	must(t, err)
	freed, err := b.FreeUnreferenced(context.Background(), layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	must(t, err)
	return freed
}

// there says which of an image's blobs, records and trees are there.
func (b *bench) there(made built, tree string) (found []string) {
	for what, d := range map[string]digest.Digest{"layer": made.layer.Digest, "manifest": made.manifest.Digest, "config": made.id} {
		if b.Layout.HasBlob(d, -1) {
			found = append(found, what)
		}
	}
	for _, key := range []digest.Digest{made.step, made.chain} {
		if _, err := b.Records.Get(key); !errors.Is(err, snapshot.ErrNotFound) {
			found = append(found, "record")
		}
	}
	if _, err := os.Lstat(tree); !errors.Is(err, os.ErrNotExist) {
		found = append(found, "tree")
	}
	return found
}

func TestWhatARemovalSetsFreeGoesBesideOthersThatLease(t *testing.T) {
	b := newBench(t)
	mine, leased := b.build(t, "mine"), b.build(t, "leased")
	mineAt, leasedAt := b.treePath(t, mine.step), b.treePath(t, leased.step)
	must(t, errors.Join(os.Remove(b.Cache.StepPath(keyOf("key mine"))), os.Remove(b.Cache.StepPath(keyOf("key leased")))))
	o := b.beside(t)
	o.lease(leased.chain, leased.layer.Digest)

	if freed := b.remove(t, "mine"); !freed.Done || freed.Bytes == 0 {
		t.Errorf("%+v", freed)
	}
	if found := b.there(mine, mineAt); len(found) > 0 {
		t.Errorf("still there: %v", found)
	}
	if freed := b.remove(t, "leased"); freed.Done {
		t.Errorf("%+v, though another uses it", freed)
	}
	if found := b.there(leased, leasedAt); len(found) != 4 {
		t.Errorf("of layer, two records and tree there is %v", found)
	}

	// It goes when that has ended, though others use the store all the time.
	again := b.use(t)
	o.end()
	must(t, b.Tidy(context.Background()))
	if found := b.there(leased, leasedAt); len(found) > 0 {
		t.Errorf("still there: %v", found)
	}
	free, err := b.Layout.ReadFree()
	if err != nil || len(free.Blobs)+len(free.Layers) > 0 {
		t.Errorf("still noted: %v, %v", free, err)
	}
	again.Unlock()
	want(t, "check", b.check(t))
}

// Blobs go outside the user namespace, and trees inside it a moment later: what is
// noted of them has to last, though others may have come in between.
func TestTreesAreRememberedBetweenOutsideAndInside(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	at := b.treePath(t, made.step)
	must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
	b.Inside = false
	if freed := b.remove(t, "one"); !freed.Trees {
		t.Errorf("%+v, though a tree is left", freed)
	}
	b.beside(t)
	b.Inside = true
	must(t, b.Tidy(context.Background()))
	if found := b.there(made, at); len(found) > 0 {
		t.Errorf("still there: %v", found)
	}
}

// Records are files of the user's own, and what a step keeps alive stays: no
// command inside the namespace is needed.
func TestOutsideTheNamespaceRecordsGoWhereNoTreeDoes(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	at := b.treePath(t, made.step)
	must(t, b.Tidy(context.Background())) // the look at everything of this day
	b.Inside = false
	if freed := b.remove(t, "one"); freed.Trees || !freed.Done {
		t.Errorf("%+v", freed)
	}
	if _, err := b.Records.Get(made.chain); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("the record of the chain ID is still there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(b.Locks, freedFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next command is asked for something: %v", err)
	}
	if _, err := os.Lstat(at); err != nil {
		t.Errorf("the step has lost its tree: %v", err)
	}
	must(t, b.Layout.NoteFree(layout.Free{All: true}))
	if freed, err := b.FreeUnreferenced(context.Background(), layout.Free{}); err != nil || !freed.Trees {
		t.Errorf("%+v, %v, though all is to be looked through", freed, err)
	}
	b.Inside = true
	must(t, b.Tidy(context.Background()))
	want(t, "check", b.check(t))
}

// An image that has come meanwhile has the layer again.
func TestALayerThatWasFreeStaysForAnImageThatCameSince(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	at := b.treePath(t, made.step)
	must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
	must(t, b.Layout.Commit(context.Background(), []string{"kept"}, made.manifest, nil))
	must(t, b.Layout.NoteFree(layout.Free{Layers: []layout.FreeLayer{{ChainID: made.chain, Blob: made.layer.Digest}}}))
	must(t, b.Tidy(context.Background()))
	if found := b.there(made, at); len(found) != 6 {
		t.Errorf("of blobs, records and tree there is %v", found)
	}
}

// Who has leased what a step made counts on its blob too.
func TestTheBlobOfALeasedLayerWaits(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	o := b.beside(t)
	o.lease(made.step)
	if freed := b.remove(t, "one"); freed.Done || !b.Layout.HasBlob(made.layer.Digest, -1) {
		t.Errorf("%+v, though another uses the layer", freed)
	}
	o.end()
	must(t, b.Tidy(context.Background()))
	if b.Layout.HasBlob(made.layer.Digest, -1) {
		t.Error("nobody came back for it")
	}
	want(t, "check", b.check(t))
}

// What a step has made stays also where another freed layer turns out to be used.
func TestWhatAStepMadeStaysBesideALayerThatIsUsedAgain(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	kept, gone := b.build(t, "kept"), b.build(t, "gone")
	must(t, b.Tidy(ctx)) // the look at everything of this day
	removed, err := b.Layout.Remove(ctx, "gone", layout.RemoveOptions{})
	must(t, err)
	removed.Layers = append(removed.Layers, layout.FreeLayer{ChainID: kept.chain, Blob: kept.layer.Digest})
	_, err = b.FreeUnreferenced(ctx, layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	must(t, err)
	for _, key := range []digest.Digest{gone.step, kept.step, kept.chain} {
		if _, err := b.Records.Get(key); err != nil {
			t.Error(err)
		}
	}
	want(t, "check", b.check(t))
}

func TestASweepOfAllTakesFreshBlobsThatNobodyNeeds(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	b.build(t, "one")
	d, err := b.Layout.PutBytes(ctx, []byte("nobody's"))
	must(t, err)
	must(t, b.Tidy(ctx))
	if !b.Layout.HasBlob(d.Digest, -1) {
		t.Error("a blob of today goes by itself")
	}
	freed, err := b.SweepAll(ctx)
	if err != nil || freed.Bytes != d.Size || b.Layout.HasBlob(d.Digest, -1) {
		t.Errorf("%+v, %v", freed, err)
	}
	want(t, "check", b.check(t))
}

// A step that was executed again leaves those that followed its former result: no
// build comes to them any more, but their records and trees are there until somebody
// is alone, and so is what they stand on.
func TestWhatLostStepsStandOnStaysBesideOthers(t *testing.T) {
	b := newBench(t)
	one, again := b.build(t, "one"), b.build(t, "again")
	a, err := b.trees.Prepare(context.Background(), one.step)
	must(t, err)
	must(t, a.Commit(keyOf("step above")))
	must(t, b.Cache.PutStep(&cache.Step{Key: keyOf("key above"), Parent: one.step, Follows: true, Result: keyOf("step above")}, nil))
	must(t, b.Cache.PutStep(&cache.Step{Key: keyOf("key one"), Result: again.step}, nil))
	other := b.use(t)
	b.remove(t, "one")
	other.Unlock()
	for _, problem := range b.check(t) {
		if problem[0] != '(' {
			t.Errorf("check finds damage: %s", problem)
		}
	}
	must(t, b.Tidy(context.Background()))
	want(t, "check when somebody was alone", b.check(t))
	if _, err := b.Records.Get(one.step); !errors.Is(err, snapshot.ErrNotFound) {
		t.Error("what only a lost step stood on is still there")
	}
}
