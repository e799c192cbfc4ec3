package gc

import (
	"context"
	"errors"
	"slices"

	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// freeLayers removes the records of layers, and the trees that go with them, and
// gives the bytes of these. Outside the namespace it reports trees that have to go
// as left. The caller is alone with the store.
func (c *Collector) freeLayers(ctx context.Context, layers []layout.FreeLayer) (bytes int64, left bool, err error) {
	if c.Inside && len(layers) > 0 {
		// For who comes after a kill between the records and the trees.
		if err := c.Layout.NoteFree(layout.Free{All: true}); err != nil {
			return 0, false, err
		}
	}
	gone, trees, err := c.forgetLayers(layers, held{trees: map[tree]bool{}})
	if err != nil {
		return 0, false, err
	}
	bytes, err = c.removeTrees(ctx, trees)
	return bytes, !gone, err
}

// forgetLayers removes the records of layers that nobody needs, and of the steps
// that made them, and gives the trees that go with them. It reports false where
// something is left to a later command: trees on which another one stands, and
// outside the namespace any that have to go.
func (c *Collector) forgetLayers(layers []layout.FreeLayer, h held) (done bool, trees []tree, err error) {
	records, err := c.withAliases(layers)
	if err != nil || len(records) == 0 {
		return err == nil, nil, err
	}
	live, err := c.liveBeside(records, layers, h)
	if err != nil {
		return false, nil, err
	}
	dead := map[snapshot.Key]*snapshot.Record{}
	for key, rec := range records {
		if live[key] == nil {
			dead[key] = rec
		}
	}
	trees, err = c.treesOf(dead, live, h.trees)
	if err != nil || len(trees) > 0 && !c.Inside {
		return false, nil, err
	}
	done = true
	for key, rec := range dead {
		for root, ref := range rec.Trees {
			if !slices.Contains(trees, tree{root, ref.ID}) {
				done = false
				delete(dead, key)
			}
		}
	}
	return done, trees, c.forgetRecords(dead)
}

// withAliases gives the records of layers, and of the steps that made them.
func (c *Collector) withAliases(layers []layout.FreeLayer) (map[snapshot.Key]*snapshot.Record, error) {
	records := map[snapshot.Key]*snapshot.Record{}
	for _, l := range layers {
		for key := l.ChainID; key != "" && records[key] == nil; {
			rec, err := c.Records.Get(key)
			if errors.Is(err, snapshot.ErrNotFound) {
				break
			}
			if err != nil {
				return nil, err
			}
			records[key] = rec
			key = rec.Alias
		}
	}
	return records, nil
}

// liveBeside gives the records that stay where those of freed layers may go: all
// others, and those that they, steps, containers, other commands and images lead to. At ten
// thousand images that is much less to read than liveRecords does.
func (c *Collector) liveBeside(freed map[snapshot.Key]*snapshot.Record, layers []layout.FreeLayer, h held) (map[snapshot.Key]*snapshot.Record, error) {
	keys, err := c.Records.Keys()
	if err != nil {
		return nil, err
	}
	steps, err := c.stepRoots(true)
	if err != nil {
		return nil, err
	}
	kept, err := c.keptRoots()
	if err != nil {
		return nil, err
	}
	roots := slices.DeleteFunc(keys, func(key snapshot.Key) bool { return freed[key] != nil })
	roots = slices.Concat(roots, steps, kept, h.roots(freed))
	live, err := c.follow(roots)
	if err != nil {
		return nil, err
	}
	open := slices.DeleteFunc(slices.Clone(layers), func(l layout.FreeLayer) bool {
		return freed[l.ChainID] == nil || live[l.ChainID] != nil
	})
	used, err := c.Layout.UsedLayers(open)
	if err != nil || len(used) == 0 {
		return live, err
	}
	return c.follow(append(roots, used...))
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
