package gc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Freed is what a clean-up has removed.
type Freed struct {
	// Bytes are those of blobs, and with Weigh of trees.
	Bytes int64
	// Done says that nothing is left to a later command.
	Done bool
}

// FreeUnreferenced removes what was set free by removals from index.json: blobs,
// and the trees and records that no image or cached step needs any more. What
// another command uses, or may use without saying so, is left to a later one.
func (c *Collector) FreeUnreferenced(ctx context.Context, free layout.Free) (Freed, error) {
	if err := c.Layout.NoteFree(free); err != nil {
		return Freed{}, err
	}
	// What only images held may now be the cache's alone.
	if err := c.Cache.ForgetTotal(); err != nil {
		return Freed{}, err
	}
	return c.free(ctx, false)
}

// Tidy does what earlier commands have left to do, and once a day looks through
// the whole store, if it is used by nobody else. It is cheap otherwise.
func (c *Collector) Tidy(ctx context.Context) error {
	if !c.asked() && !c.dueForWhole() {
		return nil
	}
	_, err := c.free(ctx, false)
	return err
}

// SweepAll removes all that nobody needs: also blobs that nothing refers to though
// no removal has set them free, whatever their age. Those stay where others use
// the store, as one of these may be about to name them.
func (c *Collector) SweepAll(ctx context.Context) (Freed, error) {
	return c.free(ctx, true)
}

// free removes what nothing needs: beside others what removals have set free,
// alone what is rubbish too, with all whatever its age.
func (c *Collector) free(ctx context.Context, all bool) (freed Freed, err error) {
	alone, err := c.alone(ctx, func() error {
		freed.Bytes, err = c.clean(ctx, all)
		freed.Done = err == nil
		return err
	})
	if err != nil || alone {
		return freed, err
	}
	return c.freeBeside(ctx)
}

// clean removes what nothing needs. The caller is alone with the store.
func (c *Collector) clean(ctx context.Context, all bool) (int64, error) {
	if err := c.namesAreKnown(); err != nil {
		return 0, err
	}
	whole := all || c.dueForWhole()
	bytes, err := c.freeBlobs(ctx, whole, all)
	if err != nil {
		return bytes, err
	}
	if c.Inside {
		trees, err := c.freeTrees(ctx)
		if bytes += trees; err != nil {
			return bytes, err
		}
	}
	if whole {
		if err := c.removeRubbish(); err != nil {
			return bytes, err
		}
	}
	return bytes, c.noteCleaned(whole)
}

// freeBlobs removes the blobs that were set free, and with whole the old ones
// that nothing refers to, with all the new ones too.
func (c *Collector) freeBlobs(ctx context.Context, whole, all bool) (int64, error) {
	free, err := c.Layout.ReadFree()
	if err != nil {
		return 0, err
	}
	if whole {
		age := unreferencedAge
		if all {
			age = 0
		}
		old, err := c.oldBlobs(age)
		if err != nil {
			return 0, err
		}
		free.Blobs = append(free.Blobs, old...)
	}
	return c.Layout.DeleteBlobs(ctx, free.Blobs)
}

// noteCleaned notes what clean has done. Outside the namespace the list of what
// is free stays, with no blobs, and asks a command inside to look through the trees.
func (c *Collector) noteCleaned(whole bool) error {
	if whole {
		if err := os.WriteFile(filepath.Join(c.Locks, cleanedFile), nil, 0o600); err != nil {
			return err
		}
	}
	if c.Inside {
		return ignoreAbsent(os.Remove(filepath.Join(c.Locks, freedFile)))
	}
	free, err := c.Layout.ReadFree()
	if err != nil {
		return err
	}
	return c.Layout.DropFree(layout.Free{Blobs: free.Blobs})
}

// freeBeside is free while others use the store. It removes what was noted as
// free, but for what another command has leased, has made, or stands on; and
// nothing at all where one counts on blobs without leasing them.
func (c *Collector) freeBeside(ctx context.Context) (Freed, error) {
	if free, err := c.Layout.ReadFree(); err != nil || len(free.Blobs)+len(free.Layers) == 0 {
		return Freed{Done: err == nil}, err
	}
	l, err := lock.Exclusive(ctx, filepath.Join(c.Locks, leasesFile))
	if err != nil {
		return Freed{}, err
	}
	freed, trees, err := c.forgetFree(ctx)
	l.Unlock()
	if err != nil {
		return freed, err
	}
	bytes, err := c.removeTrees(ctx, trees)
	freed.Bytes += bytes
	return freed, err
}

// forgetFree removes the blobs and records that are noted as free, and gives the
// trees that go with them. The caller holds the lock of the leases.
func (c *Collector) forgetFree(ctx context.Context) (freed Freed, trees []tree, err error) {
	if err := c.namesAreKnown(); err != nil {
		return freed, nil, err
	}
	release, ok, err := c.tryBlobs(ctx)
	if err != nil || !ok {
		return freed, nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	free, err := c.Layout.ReadFree()
	if err != nil {
		return freed, nil, err
	}
	h, err := c.heldByOthers()
	if err != nil {
		return freed, nil, err
	}
	gone := layout.Free{Blobs: unused(free.Blobs, h.uses)}
	if freed.Bytes, err = c.Layout.DeleteBlobs(ctx, gone.Blobs); err != nil {
		return freed, nil, err
	}
	if c.Inside {
		gone.Layers = unused(free.Layers, h.uses)
		if trees, err = c.forgetLayers(gone.Layers, h); err != nil {
			return freed, nil, err
		}
	}
	freed.Done = len(gone.Blobs) == len(free.Blobs) && len(gone.Layers) == len(free.Layers)
	if len(gone.Blobs)+len(gone.Layers) == 0 {
		return freed, trees, nil
	}
	return freed, trees, c.Layout.DropFree(gone)
}

// unused gives those of digests that nobody has leased.
func unused(digests []digest.Digest, uses map[digest.Digest]bool) []digest.Digest {
	return slices.DeleteFunc(slices.Clone(digests), func(d digest.Digest) bool { return uses[d] })
}

// forgetLayers removes the records of layers, and of what these stand on, that
// nobody needs, and gives the trees that go with them.
func (c *Collector) forgetLayers(layers []snapshot.Key, h held) ([]tree, error) {
	records, err := c.follow(layers)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	live, err := c.standingRecords()
	if err != nil {
		return nil, err
	}
	kept, err := c.follow(h.roots(records))
	if err != nil {
		return nil, err
	}
	dead := map[snapshot.Key]*snapshot.Record{}
	for key, rec := range records {
		switch {
		case live[key] != nil:
		case kept[key] != nil:
			live[key] = rec
		default:
			dead[key] = rec
		}
	}
	if err := c.forgetRecords(dead); err != nil {
		return nil, err
	}
	return c.treesOf(dead, live, h.trees), nil
}

// removeTrees removes trees that no record names any more, and gives the bytes
// that they took: those that the cache has measured as it has, and the others
// where it is asked for.
func (c *Collector) removeTrees(ctx context.Context, trees []tree) (int64, error) {
	var bytes int64
	known := c.Cache.Sizes()
	for _, t := range trees {
		if err := ctx.Err(); err != nil {
			return bytes, err
		}
		size, measured := known[t.root+"/"+t.id]
		if !measured && c.Weigh {
			var err error
			if size, err = diskUsage(snapshot.TreePath(c.Snapshots, t.root, t.id)); err != nil {
				return bytes, err
			}
		}
		if err := snapshot.RemoveTree(c.Snapshots, t.root, t.id); err != nil {
			return bytes, err
		}
		bytes += size
	}
	return bytes, nil
}
