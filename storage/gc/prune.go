package gc

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Limits say what Prune leaves.
type Limits struct {
	// Keep is how many bytes may stay that only the cache holds: the most
	// recently used. -1 sets no bound.
	Keep int64
	// Before, where set, spares what was used since.
	Before time.Time
	// Match, where set, spares what it isn't true of.
	Match func(*Entry) bool
}

// everything says whether nothing is to stay.
func (l Limits) everything() bool { return l.Keep == 0 && l.Before.IsZero() && l.Match == nil }

// Pruned is what was removed.
type Pruned struct {
	Entries []*Entry
	// Bytes are the ones that are free, Later those of them that a later
	// command frees: of blobs that another one may be about to name.
	Bytes, Later int64
}

// Prune removes what is cached, the least recently used first, with what stands
// on it, and all that only that needs. What a running command uses stays, and
// what it stands on. The caller is inside the user namespace.
func (c *Collector) Prune(ctx context.Context, l Limits) (Pruned, error) {
	p, err := c.drop(ctx, func(u *usage) ([]*Entry, error) { return u.pick(l), nil }, l.everything())
	if err == nil && !l.Before.IsZero() && l.Match == nil {
		// Uses are noted once an hour: no step that stays is to lose what leads to it.
		err = c.forgetMemory(time.Since(l.Before) + time.Hour)
	}
	return p, err
}

// Remove removes the steps and cache mounts whose ids begin with the given
// digits, and the steps that stand on them, as Prune does.
func (c *Collector) Remove(ctx context.Context, ids []string) (Pruned, error) {
	return c.drop(ctx, func(u *usage) ([]*Entry, error) {
		var picked []*Entry
		for _, id := range ids {
			e, err := find(u.entries, id)
			if err != nil {
				return nil, err
			}
			if e.InUse {
				return nil, fault.New("try again when that has ended", "%s is used by a build or a debug that is running", id)
			}
			picked = append(picked, e)
		}
		return picked, nil
	}, false)
}

// Bound keeps the cache within limit after a build that has made trees, without
// touching what others use. It is cheap while the sum of what builds have added
// is less.
func (c *Collector) Bound(ctx context.Context, limit int64, made []snapshot.Key) (Pruned, error) {
	if err := c.addTotal(ctx, made); err != nil {
		return Pruned{}, err
	}
	total, err := c.Cache.Total()
	if err == nil && total <= limit {
		return Pruned{}, nil
	}
	if err != nil && !errors.Is(err, cache.ErrNotFound) {
		return Pruned{}, err
	}
	return c.drop(ctx, func(u *usage) ([]*Entry, error) {
		if u.total(nil) <= limit {
			return nil, nil
		}
		// Some room is left, so that not every build has to look again.
		return u.pick(Limits{Keep: limit / 10 * 9}), nil
	}, false)
}

// addTotal adds to what the cache holds what a build has made.
func (c *Collector) addTotal(ctx context.Context, made []snapshot.Key) error {
	added, err := c.TreeBytes(made)
	if err != nil {
		return err
	}
	grown, err := c.growth()
	if err != nil {
		return err
	}
	// Who prunes measures either with it or before it.
	l, err := lock.Shared(ctx, filepath.Join(c.Locks, leasesFile))
	if err != nil {
		return err
	}
	defer l.Unlock()
	return c.Cache.AddTotal(added + grown)
}

// find gives the entry that an id means.
func find(entries []*Entry, id string) (*Entry, error) {
	digits := strings.TrimPrefix(id, string(digest.SHA256)+":")
	var found *Entry
	for _, e := range entries {
		if !e.Named(digits) {
			continue
		}
		if found != nil {
			return nil, fault.New("give more digits", "more than one begins with %s in the cache", id)
		}
		found = e
	}
	if found == nil || digits == "" {
		return nil, fault.New("builder cache ls    # lists them", "nothing in the cache is called %s", id)
	}
	return found, nil
}

// Named says whether the digits, and the number behind a point, begin the name
// of a step or cache mount.
func (e *Entry) Named(digits string) bool {
	if e.Mount == nil {
		return !e.isBase() && strings.HasPrefix(e.Key.Encoded(), digits)
	}
	hex, n := e.Mount.Place()
	digits, number, _ := strings.Cut(digits, ".")
	return strings.HasPrefix(hex, digits) && strings.TrimPrefix(number, "0") == strings.TrimPrefix(strconv.Itoa(n), "0")
}

// recount is after how many steps it is counted anew what is left: bases may have
// gone with them.
const recount = 64

// pick chooses the entries to remove.
func (u *usage) pick(l Limits) []*Entry {
	gone := set{}
	var picked []*Entry
	left := u.total(nil)
	for _, e := range u.entries {
		if l.Keep >= 0 && left <= l.Keep && !l.everything() {
			break
		}
		if e.isBase() || e.InUse || !e.olderThan(l.Before) || l.Match != nil && !l.Match(e) {
			continue
		}
		if l.Keep > 0 && e.Shared {
			continue // nothing would be free
		}
		picked = append(picked, e)
		gone[e] = true
		left -= e.Bytes
		if len(picked)%recount == 0 {
			left = u.total(gone)
		}
	}
	return picked
}

// drop removes the picked entries, what stands on them, and what nothing needs
// after that. With all, everything else that is known goes too.
func (c *Collector) drop(ctx context.Context, pick func(*usage) ([]*Entry, error), all bool) (Pruned, error) {
	var p Pruned
	alone, err := c.alone(ctx, func() error {
		d, err := c.choose(pick)
		if err != nil {
			return err
		}
		err = d.forget(ctx, all)
		p = d.pruned
		if err != nil {
			return err
		}
		return c.Cache.PutTotal(d.left)
	})
	if err == nil && !alone {
		return c.dropBeside(ctx, pick, all)
	}
	return p, err
}

// dropping is a removal in progress.
type dropping struct {
	*usage
	pruned Pruned
	left   int64 // bytes, when it is done
}

// choose measures the cache and settles what is to go.
func (c *Collector) choose(pick func(*usage) ([]*Entry, error)) (*dropping, error) {
	if err := c.namesAreKnown(); err != nil {
		return nil, err
	}
	u, err := c.measure()
	if err != nil {
		return nil, err
	}
	return u.choose(pick)
}

func (u *usage) choose(pick func(*usage) ([]*Entry, error)) (*dropping, error) {
	picked, err := pick(u)
	if err != nil {
		return nil, err
	}
	gone := set{}
	for _, e := range picked {
		u.withAbove(e, gone)
	}
	d := &dropping{usage: u}
	for _, e := range u.entries {
		if gone[e] {
			d.pruned.Entries = append(d.pruned.Entries, e)
		}
	}
	d.left = u.total(gone)
	d.pruned.Bytes = u.total(nil) - d.left
	return d, nil
}

// withAbove adds an entry and all that stand on it.
func (u *usage) withAbove(e *Entry, gone set) {
	if gone[e] {
		return
	}
	gone[e] = true
	if e.Step == nil {
		return
	}
	for _, later := range u.above[e.Step.Result] {
		u.withAbove(later, gone)
	}
}

// steps gives the steps that go, failed ones too.
func (d *dropping) steps() []*Entry {
	return slices.DeleteFunc(slices.Clone(d.pruned.Entries), func(e *Entry) bool { return e.isBase() || e.Mount != nil })
}

// forget removes the entries from the cache, and then what nothing needs any
// more. The caller is alone with the store.
func (d *dropping) forget(ctx context.Context, all bool) error {
	if len(d.pruned.Entries) == 0 && !all {
		return nil
	}
	// It is noted first that there is something to look for: whoever comes after
	// a kill goes on. On a full disk it is noted once the records have made room;
	// after a kill before that, the blobs go when they are a day old.
	blobs := d.blobsOf(d.steps())
	noted := d.c.Layout.NoteFree(layout.Free{Blobs: blobs, All: true})
	if noted != nil && !errors.Is(noted, unix.ENOSPC) {
		return noted
	}
	if err := d.removeRecords(all); err != nil {
		return err
	}
	if all {
		if err := d.c.forgetMemory(0); err != nil {
			return err
		}
	}
	if err := d.removeMounts(); err != nil {
		return err
	}
	if noted != nil {
		if err := d.c.Layout.NoteFree(layout.Free{Blobs: blobs, All: true}); err != nil {
			return err
		}
	}
	_, err := d.c.clean(ctx, false)
	return err
}

// removeRecords removes the records of the steps, and with all those that hold
// no tree.
func (d *dropping) removeRecords(all bool) error {
	for _, e := range d.steps() {
		if err := d.removeRecord(e); err != nil {
			return err
		}
	}
	if !all {
		return nil
	}
	for _, step := range d.others {
		if err := d.c.Cache.RemoveStep(step); err != nil {
			return err
		}
	}
	return nil
}

// removeMounts removes the cache mounts that go, but for those that a command has
// taken meanwhile.
func (d *dropping) removeMounts() error {
	var taken []*Entry
	for _, e := range d.pruned.Entries {
		if e.Mount == nil {
			continue
		}
		done, err := d.c.Cache.RemoveMount(*e.Mount)
		if ignoreAbsent(err) != nil {
			return err
		}
		if err == nil && !done {
			taken = append(taken, e)
			d.pruned.Bytes -= e.Bytes
			d.left += e.Bytes
		}
	}
	d.pruned.Entries = slices.DeleteFunc(d.pruned.Entries, func(e *Entry) bool { return slices.Contains(taken, e) })
	return nil
}

func (d *dropping) removeRecord(e *Entry) error {
	if e.Failure != nil {
		return d.c.Cache.RemoveFailure(e.Key)
	}
	return d.c.Cache.RemoveStep(e.Step)
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
