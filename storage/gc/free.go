package gc

import (
	"context"
	"errors"
	"maps"
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
	// Trees says that some are left to a command inside the user namespace.
	Trees bool
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
		freed, err = c.clean(ctx, all)
		freed.Done = err == nil
		return err
	})
	if err != nil || alone {
		return freed, err
	}
	return c.freeBeside(ctx)
}

// clean removes what nothing needs. The caller is alone with the store.
func (c *Collector) clean(ctx context.Context, all bool) (freed Freed, err error) {
	if err := c.namesAreKnown(); err != nil {
		return freed, err
	}
	free, err := c.Layout.ReadFree()
	if err != nil {
		return freed, err
	}
	whole := all || c.dueForWhole()
	gone, err := c.splitFree(free)
	if err != nil {
		return freed, err
	}
	gone.All = c.Inside
	if freed.Bytes, err = c.freeBlobs(ctx, gone, whole, all); err != nil {
		return freed, err
	}
	var trees int64
	if c.Inside && (whole || free.All) {
		trees, err = c.freeTrees(ctx)
	} else {
		trees, freed.Trees, err = c.freeLayers(ctx, gone.Layers)
	}
	if freed.Bytes += trees; err != nil {
		return freed, err
	}
	if freed.Trees {
		gone.Layers = nil
	}
	freed.Trees = freed.Trees || free.All && !c.Inside
	if whole {
		if err := c.removeRubbish(); err != nil {
			return freed, err
		}
		if err := c.noteWhole(); err != nil {
			return freed, err
		}
	}
	return freed, c.Layout.DropFree(gone)
}

// freeBlobs removes the blobs that were set free, and with whole the old ones
// that nothing refers to, with all the new ones too.
func (c *Collector) freeBlobs(ctx context.Context, free layout.Free, whole, all bool) (int64, error) {
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

// noteWhole notes that the whole store was looked through. Outside the namespace
// that leaves the trees to a command inside.
func (c *Collector) noteWhole() error {
	if err := os.WriteFile(filepath.Join(c.Locks, cleanedFile), nil, 0o600); err != nil || c.Inside {
		return err
	}
	return c.Layout.NoteFree(layout.Free{All: true})
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
	if err := c.addPacked(h.uses); err != nil {
		return freed, nil, err
	}
	unheld, err := c.splitFree(free)
	if err != nil {
		return freed, nil, err
	}
	gone := layout.Free{Blobs: unused(unheld.Blobs, h.uses, blobItself)}
	if freed.Bytes, err = c.Layout.DeleteBlobs(ctx, gone.Blobs); err != nil {
		return freed, nil, err
	}
	layers := unused(unheld.Layers, h.uses, layerChain)
	ok, trees, err = c.forgetLayers(layers, h)
	if err != nil {
		return freed, nil, err
	}
	if freed.Trees = !ok; ok {
		gone.Layers = layers
	}
	freed.Done = len(gone.Blobs) == len(free.Blobs) && len(gone.Layers) == len(free.Layers)
	if len(gone.Blobs)+len(gone.Layers) == 0 {
		return freed, trees, nil
	}
	return freed, trees, c.Layout.DropFree(gone)
}

// addPacked adds to what is used the blobs of the layers that are: who has leased a
// step's result finds its blob there, and counts on that.
func (c *Collector) addPacked(uses map[digest.Digest]bool) error {
	records, err := c.follow(slices.Collect(maps.Keys(uses)))
	if err != nil {
		return err
	}
	for blob := range packedBlobs(records) {
		uses[blob] = true
	}
	return nil
}

// unused gives those of list whose digests nobody has leased.
func unused[T any](list []T, uses map[digest.Digest]bool, name func(T) digest.Digest) []T {
	return slices.DeleteFunc(slices.Clone(list), func(one T) bool { return uses[name(one)] })
}

func blobItself(d digest.Digest) digest.Digest { return d }

func layerChain(l layout.FreeLayer) snapshot.Key { return l.ChainID }
