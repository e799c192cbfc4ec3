package gc

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// step records a step with a tree of one file, used some hours ago.
func (b *bench) step(t *testing.T, name, follows string, bytes int, hours time.Duration) *cache.Step {
	t.Helper()
	parent := snapshot.Key("")
	if follows != "" {
		parent = keyOf("result " + follows)
	}
	a, err := b.trees.Prepare(context.Background(), parent)
	must(t, err)
	w := a.Writer()
	must(t, w.Write(&layer.Entry{
		Path: name, Type: layer.TypeReg, Mode: 0o644, Size: int64(bytes), ModTime: time.Unix(1e9, 0),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("x", bytes))), nil },
	}))
	must(t, w.Close())
	result := keyOf("result " + name)
	must(t, a.Commit(result))
	step := &cache.Step{Key: keyOf("key " + name), Result: result, Parent: parent, Follows: follows != "", Kind: "run"}
	must(t, b.Cache.PutStep(step, nil))
	at := time.Now().Add(-hours * time.Hour)
	must(t, os.Chtimes(b.Cache.StepPath(step.Key), at, at))
	return step
}

func (b *bench) cached(steps ...*cache.Step) string {
	var text string
	for _, s := range steps {
		mark := "-"
		if _, err := b.Cache.Step(s.Key); err == nil && b.trees.HasTree(s.Result) {
			mark = "+"
		}
		text += mark
	}
	return text
}

func TestTheLeastRecentlyUsedGoFirst(t *testing.T) {
	const kb = 1 << 10
	for name, c := range map[string]struct {
		limits Limits
		want   string
	}{
		"everything":       {Limits{}, "----"},
		"room for all":     {Limits{Keep: 100_000 * kb}, "++++"},
		"old one":          {Limits{Keep: 900 * kb}, "-+++"},
		"old, and the end": {Limits{Keep: 600 * kb}, "-++-"}, // middle was used with end
		"by age":           {Limits{Keep: -1, Before: time.Now().Add(-90 * time.Minute)}, "-+--"},
	} {
		b := newBench(t)
		steps := []*cache.Step{
			b.step(t, "old", "", 200*kb, 9), b.step(t, "base", "", 300*kb, 7),
			b.step(t, "middle", "", 200*kb, 5), b.step(t, "end", "middle", 100*kb, 2),
		}
		must(t, os.Chtimes(b.Cache.StepPath(steps[1].Key), time.Time{}, time.Now()))
		_, total, err := b.Usage()
		must(t, err)
		p, err := b.Prune(context.Background(), c.limits)
		must(t, err)
		if got := b.cached(steps...); got != c.want {
			t.Errorf("%s: %s, not %s (of %d)", name, got, c.want, total)
		}
		_, left, err := b.Usage()
		must(t, err)
		if left != total-p.Bytes {
			t.Errorf("%s: %d of %d were freed, and %d are left", name, p.Bytes, total, left)
		}
		want(t, name, b.check(t))
	}
}

func TestWhatAnImageHasIsNotTheCachesToFree(t *testing.T) {
	b := newBench(t)
	img := b.build(t, "image")
	entries, total, err := b.Usage()
	must(t, err)
	if len(entries) != 1 || !entries[0].Shared || total != 0 {
		t.Errorf("%+v, %d bytes", entries, total)
	}
	_, err = b.Prune(context.Background(), Limits{Keep: 1})
	must(t, err)
	if _, err := b.Cache.Step(entries[0].Key); err != nil {
		t.Error("a step went that freed nothing")
	}
	p, err := b.Prune(context.Background(), Limits{})
	must(t, err)
	if len(p.Entries) != 1 || p.Bytes != 0 || !b.trees.HasTree(img.chain) || !b.Layout.HasBlob(img.layer.Digest, -1) {
		t.Errorf("%+v", p)
	}
}

func TestAStepGoesWithThoseThatStandOnIt(t *testing.T) {
	b := newBench(t)
	steps := []*cache.Step{b.step(t, "a", "", 10, 1), b.step(t, "b", "a", 10, 1), b.step(t, "c", "", 10, 1)}
	if _, err := b.Remove(context.Background(), []string{""}); err == nil {
		t.Error("no id removed something")
	}
	_, err := b.Remove(context.Background(), []string{steps[0].Key.Encoded()[:12]})
	must(t, err)
	if got := b.cached(steps...); got != "--+" {
		t.Error(got)
	}
}

func TestABoundKeepsItself(t *testing.T) {
	b := newBench(t)
	const size, limit = 100 << 10, 250 << 10
	one, two := b.step(t, "one", "", size, 3), b.step(t, "two", "", size, 2)
	for _, s := range []*cache.Step{one, two} {
		_, err := b.Bound(context.Background(), limit, []snapshot.Key{s.Result})
		must(t, err)
	}
	if got := b.cached(one, two); got != "++" {
		t.Error(got)
	}
	three := b.step(t, "three", "", size, 1)
	_, err := b.Bound(context.Background(), limit, []snapshot.Key{three.Result})
	must(t, err)
	if got := b.cached(one, two, three); got != "-++" {
		t.Error(got)
	}
	// Images that are removed leave the cache more than builds have added.
	_, err = b.FreeUnreferenced(context.Background(), layout.Free{All: true})
	must(t, err)
	if _, err := b.Cache.Total(); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
}
