package gc

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Containers write to their trees for as long as they like without holding the
// store: markers say what they need. Each counts here, for Sweep has removed those
// whose containers are gone. One that can't be read may name anything, so that
// nothing is removed until it is mended.

// keptTrees gives the markers of containers' trees.
func (c *Collector) keptTrees() ([]*snapshot.Kept, error) {
	kept, err := snapshot.KeptTrees(c.Snapshots)
	if err != nil {
		return nil, fault.New("builder system check --repair", "what containers need isn't known: %w", err)
	}
	return kept, nil
}

// keptRoots gives the keys that containers stand on.
func (c *Collector) keptRoots() ([]snapshot.Key, error) {
	kept, err := c.keptTrees()
	keys := make([]snapshot.Key, len(kept))
	for i, k := range kept {
		keys[i] = k.Parent
	}
	return keys, err
}

// addKept adds the trees of containers, and those that they stand on, which
// needn't be the ones that the records name now.
func (c *Collector) addKept(trees map[tree]bool) error {
	kept, err := c.keptTrees()
	for _, k := range kept {
		c.addStack(trees, tree{k.Root, k.ID})
	}
	return err
}

// splitFree parts what is free into what may go and what containers stand on: of
// an image that was removed by force they need the layers' blobs too, as trees count
// in one boot only.
func (c *Collector) splitFree(free layout.Free) (layout.Free, error) {
	if len(free.Blobs)+len(free.Layers) == 0 {
		return free, nil
	}
	keys, err := c.keptRoots()
	if err != nil || len(keys) == 0 {
		return free, err
	}
	records, err := c.follow(keys)
	if err != nil {
		return free, err
	}
	needed := map[digest.Digest]bool{}
	for key := range records {
		needed[key] = true
	}
	for blob := range sources(records) {
		needed[blob] = true
	}
	free.Blobs = unused(free.Blobs, needed, blobItself)
	free.Layers = unused(free.Layers, needed, layerChain)
	return free, nil
}

// sources gives the blobs that records name, and those that their trees were
// unpacked from.
func sources(records map[snapshot.Key]*snapshot.Record) map[digest.Digest]v1.Descriptor {
	blobs := packedBlobs(records)
	for _, rec := range records {
		if rec.From != nil {
			blobs[rec.From.Blob.Digest] = rec.From.Blob
		}
	}
	return blobs
}

// addSources adds to packed blobs those from which what containers stand on can be
// unpacked.
func (c *Collector) addSources(packed map[digest.Digest]v1.Descriptor) error {
	keys, err := c.keptRoots()
	if err != nil {
		return err
	}
	records, err := c.follow(keys)
	maps.Copy(packed, sources(records))
	return err
}

// KeptBytes measures what a container's tree holds: with overlay what it changes,
// with vfs all of it. Without such a tree it is 0. It works in the user namespace
// only.
func (c *Collector) KeptBytes(container string) (int64, error) {
	k, err := snapshot.ReadKept(c.Snapshots, container)
	if errors.Is(err, snapshot.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return diskUsage(snapshot.TreePath(c.Snapshots, k.Root, k.ID))
}

// RemoveKept removes the tree of a container that nobody uses any more, and gives
// its bytes. One that can't be measured, as its marker can't be read, is removed all
// the same.
func (c *Collector) RemoveKept(container string) (int64, error) {
	bytes, _ := c.KeptBytes(container)
	return bytes, snapshot.RemoveKept(c.Snapshots, container)
}

// checkKept looks whether the trees of containers are there. What one stands on may
// be gone, after a reboot for instance: then it is unpacked again.
func (c *Collector) checkKept(ctx context.Context) ([]Problem, error) {
	owners, err := snapshot.KeptOwners(c.Snapshots)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, owner := range owners {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := Problem{Kind: KindContainer, Path: filepath.Join(snapshot.KeptDir(c.Snapshots), owner), owner: owner}
		k, err := snapshot.ReadKept(c.Snapshots, owner)
		switch {
		case errors.Is(err, snapshot.ErrNotFound):
			continue
		case err != nil:
			p.What = "unreadable: nothing is known of the container's tree"
		default:
			p.What = c.keptDamage(k)
		}
		if p.What != "" {
			problems = append(problems, p)
		}
	}
	return problems, nil
}

func (c *Collector) keptDamage(k *snapshot.Kept) string {
	if _, err := os.Lstat(snapshot.TreePath(c.Snapshots, k.Root, k.ID)); err != nil {
		return "the container's tree is missing: " + err.Error()
	}
	if err := snapshot.WholeBeside(c.Snapshots, k.Root, k.ID); err != nil {
		return "the container's tree isn't whole: " + err.Error()
	}
	return ""
}

// mendKept gives up a tree that can't be found. One of which only what lies beside
// it is damaged may still be used, and is the user's to judge.
func (c *Collector) mendKept(p Problem) (string, error) {
	if k, err := snapshot.ReadKept(c.Snapshots, p.owner); err == nil {
		if _, err := os.Lstat(snapshot.TreePath(c.Snapshots, k.Root, k.ID)); err == nil {
			return "", nil
		}
	}
	return "forgotten: what the container had changed is lost", ignoreAbsent(os.Remove(p.Path))
}
