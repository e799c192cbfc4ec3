package gc

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/lease"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// dropBeside is drop while others use the store. It takes nothing but what steps
// of the cache held, and of that nothing that another command has leased, has
// made, or stands on. Trees are removed when nobody can find them any more, so
// that nobody waits for it.
func (c *Collector) dropBeside(ctx context.Context, pick func(*usage) ([]*Entry, error), all bool) (Pruned, error) {
	// Trees that were never measured take their time, in which nobody should
	// have to wait either.
	if _, err := c.measure(); err != nil {
		return Pruned{}, err
	}
	l, err := lock.Exclusive(ctx, filepath.Join(c.Locks, leasesFile))
	if err != nil {
		return Pruned{}, err
	}
	d, trees, err := c.forgetBeside(ctx, pick, all)
	l.Unlock()
	if err != nil {
		return Pruned{}, err
	}
	for _, t := range trees {
		if err := errors.Join(ctx.Err(), snapshot.RemoveTree(c.Snapshots, t.root, t.id)); err != nil {
			return d.pruned, err
		}
	}
	left := d.left
	if err := d.removeMounts(); err != nil || d.left == left {
		return d.pruned, err
	}
	return d.pruned, c.Cache.ForgetTotal()
}

// forgetBeside removes records and blobs, and gives the trees that go with them.
// The caller holds the lock of the leases.
func (c *Collector) forgetBeside(ctx context.Context, pick func(*usage) ([]*Entry, error), all bool) (*dropping, []tree, error) {
	if err := c.namesAreKnown(); err != nil {
		return nil, nil, err
	}
	u, err := c.measure()
	if err != nil {
		return nil, nil, err
	}
	h, err := c.heldByOthers()
	if err != nil {
		return nil, nil, err
	}
	kept, err := u.protect(h)
	if err != nil {
		return nil, nil, err
	}
	d, err := u.choose(pick)
	if err != nil || len(d.pruned.Entries) == 0 {
		return d, nil, err
	}
	// It is noted first that there is something to look for: whoever comes after
	// a kill goes on.
	if err := c.Layout.NoteFree(layout.Free{All: true}); err != nil {
		return nil, nil, err
	}
	if err := d.removeRecords(all); err != nil {
		return nil, nil, err
	}
	dead, live, err := d.dead(kept)
	if err != nil {
		return nil, nil, err
	}
	if err := d.freeBlobs(ctx, dead, live, h.uses); err != nil {
		return nil, nil, err
	}
	trees, err := c.treesOf(dead, live, h.trees)
	if err != nil {
		return nil, nil, err
	}
	if err := c.forgetRecords(dead); err != nil {
		return nil, nil, err
	}
	return d, trees, c.Cache.PutTotal(d.left)
}

// held is what commands beside this one use.
type held struct {
	uses  map[digest.Digest]bool
	trees map[tree]bool // that they make or have made, with those below
}

func (c *Collector) heldByOthers() (held, error) {
	h := held{uses: map[digest.Digest]bool{}, trees: map[tree]bool{}}
	dirs, err := lease.Live(c.Sessions, c.Session)
	if err != nil {
		return h, err
	}
	for _, dir := range dirs {
		if err := lease.Read(dir, h.uses); err != nil {
			return h, err
		}
		made, err := c.Journal(dir)
		if err != nil {
			return h, err
		}
		for _, t := range made {
			c.addStack(h.trees, tree{t[0], t[1]})
		}
	}
	return h, nil
}

// addStack adds a tree and those below it. One that isn't whole yet, or any more,
// has none below it that anybody counts on.
func (c *Collector) addStack(trees map[tree]bool, t tree) {
	trees[t] = true
	ids, err := snapshot.Stack(c.Snapshots, t.root, t.id)
	if err != nil {
		return
	}
	for _, id := range ids {
		trees[tree{t.root, id}] = true
	}
}

// protect marks the entries that others use, and gives the records that they do.
func (u *usage) protect(h held) (map[snapshot.Key]*snapshot.Record, error) {
	kept, err := u.c.follow(h.roots(u.records))
	if err != nil {
		return nil, err
	}
	for _, e := range u.entries {
		if e.Mount != nil {
			continue
		}
		e.InUse = h.uses[e.Key] || kept[e.Key] != nil || e.Step != nil && kept[e.Step.Result] != nil
	}
	u.protectBelow()
	return kept, nil
}

// roots gives the keys of what others use, and of those records whose trees they
// do.
func (h held) roots(records map[snapshot.Key]*snapshot.Record) []snapshot.Key {
	var roots []snapshot.Key
	for name := range h.uses {
		roots = append(roots, name)
	}
	for key, rec := range records {
		for root, ref := range rec.Trees {
			if h.trees[tree{root, ref.ID}] {
				roots = append(roots, key)
			}
		}
	}
	return roots
}

// protectBelow marks the steps that those in use follow.
func (u *usage) protectBelow() {
	made := map[cache.Key]*Entry{}
	for _, e := range u.entries {
		if e.Step != nil {
			made[e.Step.Result] = e
		}
	}
	for _, e := range u.entries {
		if e.Step == nil || !e.InUse {
			continue
		}
		for below := e; below.Step.Follows; {
			next := made[below.Step.Parent]
			if next == nil || next == below {
				break
			}
			next.InUse = true
			below = next
		}
	}
}

// dead gives the records that something led to before, and nothing any more, with
// those that lead to them; and those that stay.
func (d *dropping) dead(kept map[snapshot.Key]*snapshot.Record) (dead, live map[snapshot.Key]*snapshot.Record, err error) {
	if live, err = d.c.standingRecords(); err != nil {
		return nil, nil, err
	}
	for key, rec := range kept {
		live[key] = rec
	}
	dead = map[snapshot.Key]*snapshot.Record{}
	for key, rec := range d.records {
		if live[key] == nil {
			dead[key] = rec
		}
	}
	return dead, live, d.c.addLeading(dead, live)
}

// addLeading adds to dead records those that lead to them, as the chains of a removed
// image do that nobody could remove yet. What others make stands on what they have
// leased, which is live.
func (c *Collector) addLeading(dead, live map[snapshot.Key]*snapshot.Record) error {
	keys, err := c.Records.Keys()
	if err != nil {
		return err
	}
	others := map[snapshot.Key]*snapshot.Record{}
	for _, key := range keys {
		if live[key] != nil || dead[key] != nil || key.Validate() != nil {
			continue
		}
		if rec, err := c.Records.Get(key); err == nil { // else it leads nowhere
			others[key] = rec
		}
	}
	for found := len(dead) > 0; found; {
		found = false
		for key, rec := range others {
			if dead[rec.Parent] != nil || dead[rec.Alias] != nil {
				dead[key], found = rec, true
				delete(others, key)
			}
		}
	}
	return nil
}

// freeBlobs removes the blobs of dead records that nothing else has. Where a
// command counts on blobs without leasing them, a later one removes them.
func (d *dropping) freeBlobs(ctx context.Context, dead, live map[snapshot.Key]*snapshot.Record, uses map[digest.Digest]bool) error {
	others := packedBlobs(live)
	var free []digest.Digest
	var bytes int64
	for blob, descriptor := range packedBlobs(dead) {
		if _, ok := others[blob]; !ok && !uses[blob] {
			free = append(free, blob)
			bytes += descriptor.Size
		}
	}
	slices.Sort(free)
	release, ok, err := d.c.tryBlobs(ctx)
	if err != nil {
		return err
	}
	if !ok {
		d.pruned.Later = bytes
		return d.c.Layout.NoteFree(layout.Free{Blobs: free})
	}
	_, err = d.c.Layout.DeleteBlobs(ctx, free)
	return errors.Join(err, release())
}

// tryBlobs keeps everybody from counting on blobs that aren't leased, where
// nobody does at the moment.
func (c *Collector) tryBlobs(ctx context.Context) (release func() error, ok bool, err error) {
	if c.Blobs.Held() {
		ok, err := c.Blobs.TryUpgrade(ctx)
		return func() error { return c.Blobs.Downgrade(ctx) }, ok, err
	}
	l, ok, err := lock.TryExclusive(filepath.Join(c.Locks, blobsFile))
	return func() error { l.Unlock(); return nil }, ok, err
}

// treesOf gives the trees of dead records on which nothing stands.
func (c *Collector) treesOf(dead, live map[snapshot.Key]*snapshot.Record, made map[tree]bool) ([]tree, error) {
	stay := made
	if err := c.addKept(stay); err != nil {
		return nil, err
	}
	for _, rec := range live {
		for root, ref := range rec.Trees {
			c.addStack(stay, tree{root, ref.ID})
		}
	}
	var trees []tree
	for _, rec := range dead {
		for root, ref := range rec.Trees {
			if t := (tree{root, ref.ID}); !stay[t] {
				trees = append(trees, t)
			}
		}
	}
	return trees, nil
}
