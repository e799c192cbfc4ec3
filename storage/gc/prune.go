package gc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/snapshot"
)

// ErrInUse says that nothing could be removed, because another command uses the
// store.
var ErrInUse = errors.New("another command uses the store, and may need what is cached")

// Limits say what Prune leaves.
type Limits struct {
	// Keep is how many bytes may stay that only the cache holds: the most
	// recently used. -1 sets no bound.
	Keep int64
	// Before, where set, spares what was used since.
	Before time.Time
}

// everything says whether nothing is to stay.
func (l Limits) everything() bool { return l.Keep == 0 && l.Before.IsZero() }

// Pruned is what was removed. Bytes are the ones that are free now.
type Pruned struct {
	Steps []*Entry
	Bytes int64
}

// Prune removes steps from the cache, the least recently used first, with those
// that stand on them, and all that only they need. It is done only by who is
// alone with the store, so that no running build misses anything: else it is
// ErrInUse. The caller is inside the user namespace.
func (c *Collector) Prune(ctx context.Context, l Limits) (Pruned, error) {
	return c.drop(ctx, func(u *usage) ([]*Entry, error) { return u.pick(l), nil }, l.everything())
}

// Remove removes the steps whose ids begin with the given digits, and those that
// stand on them, as Prune does.
func (c *Collector) Remove(ctx context.Context, ids []string) (Pruned, error) {
	return c.drop(ctx, func(u *usage) ([]*Entry, error) {
		var picked []*Entry
		for _, id := range ids {
			e, err := find(u.entries, id)
			if err != nil {
				return nil, err
			}
			picked = append(picked, e)
		}
		return picked, nil
	}, false)
}

// Bound keeps the cache within limit after a build that has made trees. It is
// cheap while the sum of what builds have added is less, and passes over it while
// others use the store: the next build sees to it.
func (c *Collector) Bound(ctx context.Context, limit int64, made []snapshot.Key) (Pruned, error) {
	added, err := c.TreeBytes(made)
	if err != nil {
		return Pruned{}, err
	}
	if err := c.Cache.AddTotal(added); err != nil {
		return Pruned{}, err
	}
	total, err := c.Cache.Total()
	if err == nil && total <= limit {
		return Pruned{}, nil
	}
	if err != nil && !errors.Is(err, cache.ErrNotFound) {
		return Pruned{}, err
	}
	p, err := c.drop(ctx, func(u *usage) ([]*Entry, error) {
		if u.total(nil) <= limit {
			return nil, nil
		}
		// Some room is left, so that not every build has to look again.
		return u.pick(Limits{Keep: limit / 10 * 9}), nil
	}, false)
	if errors.Is(err, ErrInUse) {
		err = nil
	}
	return p, err
}

// find gives the step that an id means.
func find(entries []*Entry, id string) (*Entry, error) {
	digits := strings.TrimPrefix(id, string(digest.SHA256)+":")
	var found *Entry
	for _, e := range entries {
		if e.isBase() || !strings.HasPrefix(e.Key.Encoded(), digits) {
			continue
		}
		if found != nil {
			return nil, fault.New("give more digits", "several cached steps begin with %s", id)
		}
		found = e
	}
	if found == nil || digits == "" {
		return nil, fault.New("builder cache ls    # lists them", "no cached step is called %s", id)
	}
	return found, nil
}

// recount is after how many steps it is counted anew what is left: bases may have
// gone with them.
const recount = 64

// pick chooses the steps to remove.
func (u *usage) pick(l Limits) []*Entry {
	gone := map[cache.Key]bool{}
	var picked []*Entry
	left := u.total(nil)
	for _, e := range u.entries {
		if l.Keep >= 0 && left <= l.Keep && !l.everything() {
			break
		}
		if e.isBase() || !l.Before.IsZero() && !e.Used.Before(l.Before) {
			continue
		}
		if l.Keep > 0 && e.Shared {
			continue // nothing would be free
		}
		picked = append(picked, e)
		gone[e.Key] = true
		left -= e.Bytes
		if len(picked)%recount == 0 {
			left = u.total(gone)
		}
	}
	return picked
}

// drop removes the picked steps, what stands on them, and what nothing needs
// after that. With all, everything else that is known goes too.
func (c *Collector) drop(ctx context.Context, pick func(*usage) ([]*Entry, error), all bool) (Pruned, error) {
	var p Pruned
	alone, err := c.alone(ctx, func() error {
		if err := c.namesAreKnown(); err != nil {
			return err
		}
		u, err := c.measure()
		if err != nil {
			return err
		}
		picked, err := pick(u)
		if err != nil {
			return err
		}
		gone := map[cache.Key]bool{}
		for _, e := range picked {
			u.withAbove(e, gone)
		}
		for _, e := range u.entries {
			if gone[e.Key] {
				p.Steps = append(p.Steps, e)
			}
		}
		left := u.total(gone)
		p.Bytes = u.total(nil) - left
		if err := c.forget(ctx, u, p.Steps, all); err != nil {
			return err
		}
		return c.Cache.PutTotal(left)
	})
	if err == nil && !alone {
		err = fault.New("try again when no other builder command runs", "nothing was removed: %w", ErrInUse)
	}
	return p, err
}

// withAbove adds a step and all that stand on it.
func (u *usage) withAbove(e *Entry, gone map[cache.Key]bool) {
	if e.isBase() || gone[e.Key] {
		return
	}
	gone[e.Key] = true
	if e.Step == nil {
		return
	}
	for _, later := range u.above[e.Step.Result] {
		u.withAbove(later, gone)
	}
}

// forget removes steps from the cache, and then what nothing needs any more.
func (c *Collector) forget(ctx context.Context, u *usage, steps []*Entry, all bool) error {
	if len(steps) == 0 && !all {
		return nil
	}
	// It is noted first that there is something to look for: whoever comes after
	// a kill goes on.
	if err := c.Layout.NoteFree(u.blobsOf(steps)); err != nil {
		return err
	}
	for _, e := range steps {
		if err := c.forgetEntry(e); err != nil {
			return err
		}
	}
	if all {
		for _, step := range u.others {
			if err := c.Cache.RemoveStep(step); err != nil {
				return err
			}
		}
		if err := c.Cache.ForgetSeen(); err != nil {
			return err
		}
	}
	_, err := c.clean(ctx)
	return err
}

func (c *Collector) forgetEntry(e *Entry) error {
	if e.Failure != nil {
		return c.Cache.RemoveFailure(e.Key)
	}
	return c.Cache.RemoveStep(e.Step)
}

// blobsOf gives the blobs that only these steps have.
func (u *usage) blobsOf(steps []*Entry) []digest.Digest {
	records := map[snapshot.Key]*snapshot.Record{}
	rest := map[snapshot.Key]*snapshot.Record{}
	gone := map[cache.Key]bool{}
	for _, e := range steps {
		gone[e.trees()[0]] = true
	}
	for key, rec := range u.records {
		if gone[key] {
			records[key] = rec
		} else {
			rest[key] = rec
		}
	}
	kept := packedBlobs(rest)
	var free []digest.Digest
	for d := range packedBlobs(records) {
		if _, ok := kept[d]; !ok {
			free = append(free, d)
		}
	}
	slices.Sort(free)
	return free
}
