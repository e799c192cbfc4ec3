package gc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/lease"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// other is a command that uses the store beside the one under test.
type other struct {
	t    *testing.T
	book *lease.Book
	end  func()
}

// beside begins one that leases what it uses.
func (b *bench) beside(t *testing.T) *other {
	t.Helper()
	use := b.use(t)
	path := filepath.Join(b.Sessions, "other")
	session, err := lock.Exclusive(context.Background(), path)
	must(t, err)
	must(t, os.MkdirAll(path+".d", 0o700))
	book, err := lease.Open(path+".d", filepath.Join(b.Locks, leasesFile))
	must(t, err)
	o := &other{t: t, book: book, end: func() {
		session.Unlock()
		use.Unlock()
		must(t, errors.Join(os.RemoveAll(path), os.RemoveAll(path+".d")))
	}}
	t.Cleanup(o.end)
	return o
}

func (o *other) lease(names ...digest.Digest) {
	o.t.Helper()
	must(o.t, o.book.Add(context.Background(), names...))
}

func TestWhatAnotherLeasesStaysWithWhatItStandsOn(t *testing.T) {
	b := newBench(t)
	steps := []*cache.Step{
		b.step(t, "base", "", 1<<10, 9), b.step(t, "leased", "base", 1<<10, 8),
		b.step(t, "above", "leased", 1<<10, 7), b.step(t, "unused", "", 1<<10, 6),
	}
	o := b.beside(t)
	o.lease(steps[1].Key)
	p, err := b.Prune(context.Background(), Limits{})
	must(t, err)
	if got := b.cached(steps...); got != "++--" || len(p.Entries) != 2 {
		t.Errorf("%s, %d removed", got, len(p.Entries))
	}
	if _, left, err := b.Usage(); err != nil || left == 0 || p.Bytes == 0 {
		t.Errorf("%d bytes freed, %d left: %v", p.Bytes, left, err)
	}

	// The bound as well.
	must(t, b.Cache.PutTotal(1<<30))
	_, err = b.Bound(context.Background(), 0, nil)
	must(t, err)
	if got := b.cached(steps[:2]...); got != "++" {
		t.Error(got)
	}
	if _, err := b.Remove(context.Background(), []string{steps[1].Key.Encoded()}); err == nil {
		t.Error("what another uses was removed by its name")
	}

	o.end()
	want(t, "after another", b.check(t))

	// A dead one's lease is none.
	dead := filepath.Join(b.Sessions, "dead")
	must(t, os.WriteFile(dead, nil, 0o600))
	must(t, os.MkdirAll(dead+".d", 0o700))
	must(t, os.WriteFile(dead+".d/uses", []byte(steps[1].Key.String()+"\n"), 0o600))
	b.use(t)
	_, err = b.Prune(context.Background(), Limits{})
	must(t, err)
	if got := b.cached(steps[:2]...); got != "--" {
		t.Error(got)
	}
}

func TestWhatAnotherMakesIsNotRubbish(t *testing.T) {
	b := newBench(t)
	below := b.step(t, "below", "", 10, 5)
	o := b.beside(t)
	a, err := b.trees.Prepare(context.Background(), below.Result)
	must(t, err)
	rec, err := b.Records.Get(below.Result)
	must(t, err)
	root := b.trees.Root()
	b.Journal = func(string) ([][2]string, error) { return [][2]string{{root, rec.Trees[root].ID}}, nil }
	_, err = b.Prune(context.Background(), Limits{})
	must(t, err)
	if got := b.cached(below); got != "+" {
		t.Errorf("below a tree in the making: %s", got)
	}
	must(t, a.Commit(keyOf("made")))
	_ = o
}

func TestBlobsWaitForWhoCountsOnThem(t *testing.T) {
	b := newBench(t)
	pack := func(step *cache.Step, text string) digest.Digest {
		d, err := b.Layout.PutBytes(context.Background(), []byte(text))
		must(t, err)
		must(t, b.Records.AddPacking(step.Result, snapshot.Packing{Blob: d}))
		return d.Digest
	}
	one, two := b.step(t, "one", "", 10, 5), b.step(t, "two", "", 10, 4)
	plain, leased := pack(one, "plain"), pack(two, "leased")
	o := b.beside(t)
	o.lease(leased)
	counting, err := lock.Shared(context.Background(), filepath.Join(b.Locks, blobsFile))
	must(t, err)
	p, err := b.Remove(context.Background(), []string{one.Key.Encoded()})
	must(t, err)
	if !b.Layout.HasBlob(plain, -1) || p.Later == 0 {
		t.Errorf("a blob went that a fetch may count on: %+v", p)
	}
	counting.Unlock()
	three := b.step(t, "three", "", 10, 3)
	third := pack(three, "third")
	_, err = b.Prune(context.Background(), Limits{})
	must(t, err)
	if b.Layout.HasBlob(third, -1) {
		t.Error("a blob of a removed step is left")
	}
	if !b.Layout.HasBlob(leased, -1) {
		t.Error("a leased blob went")
	}
	// The one that was left goes with a later command.
	o.end()
	must(t, b.Tidy(context.Background()))
	if b.Layout.HasBlob(plain, -1) {
		t.Error("nobody came back for it")
	}
}

// The chains of a removed image wait where somebody counts on blobs. A step that they
// lead to may be pruned meanwhile.
func TestNothingIsLeftThatLeadsToPrunedRecords(t *testing.T) {
	b := newBench(t)
	one := b.build(t, "one")
	o := b.beside(t)
	counting, err := lock.Shared(context.Background(), filepath.Join(b.Locks, blobsFile))
	must(t, err)
	b.remove(t, "one")
	if _, err := b.Records.Get(one.chain); err != nil {
		t.Fatalf("the chain didn't wait: %v", err)
	}
	_, err = b.Remove(context.Background(), []string{keyOf("key one").Encoded()})
	must(t, err)
	counting.Unlock()
	o.end()
	for _, problem := range b.check(t) {
		if problem[0] != '(' {
			t.Errorf("check finds damage: %s", problem)
		}
	}
}
