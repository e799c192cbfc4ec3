package gc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// fail makes a step a failure that is kept: of its own record nothing is left.
func (b *bench) fail(t *testing.T, name, boot string, step *cache.Step, needs ...snapshot.Key) *cache.Failure {
	t.Helper()
	must(t, b.Cache.RemoveStep(step))
	f := &cache.Failure{Key: step.Result, Before: step.Parent, Target: name, Boot: boot, Failed: time.Now(), Needs: needs, Run: []byte("{}")}
	_, err := b.Cache.PutFailure(f)
	must(t, err)
	return f
}

func TestAFailedStepKeepsWhatItNeeds(t *testing.T) {
	b := newBench(t)
	boot, err := bootid.Get()
	must(t, err)
	below, shown := b.step(t, "below", "", 10, 1), b.step(t, "shown", "", 10, 1)
	f := b.fail(t, "a", boot, b.step(t, "failed", "below", 5000, 0), shown.Result)
	old := b.fail(t, "b", "another boot", b.step(t, "old", "", 10, 0))
	for _, s := range []*cache.Step{below, shown} {
		must(t, b.Cache.RemoveStep(s))
	}
	c := b.Collector
	must(t, c.Layout.NoteFree(layout.Free{All: true}))
	must(t, c.Tidy(context.Background()))
	for _, key := range f.Trees() {
		if !b.trees.HasTree(key) {
			t.Errorf("%s is gone", key)
		}
	}
	if _, err := b.Cache.Failure(old.Key); !errors.Is(err, cache.ErrNotFound) || b.trees.HasTree(old.Key) {
		t.Errorf("one of another boot is there: %v", err)
	}
	problems, _, err := c.Check(context.Background())
	must(t, err)
	if len(problems) != 0 {
		t.Errorf("%v", problems)
	}
	entries, total, err := c.Usage()
	must(t, err)
	if len(entries) != 3 || total < 5000 {
		t.Errorf("%d entries, %d bytes", len(entries), total)
	}
	pruned, err := c.Prune(context.Background(), Limits{})
	must(t, err)
	if len(pruned.Entries) != 1 || pruned.Entries[0].Failure == nil || pruned.Bytes != total {
		t.Errorf("%+v", pruned)
	}
	for _, key := range f.Trees() {
		if b.trees.HasTree(key) {
			t.Errorf("%s is there", key)
		}
	}
}
