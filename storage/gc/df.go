package gc

import (
	"errors"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// DiskUsage is what the store takes, and what of that can be had back.
type DiskUsage struct {
	// Images has the usage of each image by its id.
	Images map[digest.Digest]ImageUsage
	// ImageBytes are those of all images, each blob and tree once.
	// ImagesReclaimable are those of them that are free when all images go that
	// no container uses: what cached steps need too becomes the cache's then.
	ImageBytes, ImagesReclaimable int64
	// Cache is what the build cache holds, the least recently used first.
	Cache []*Entry
	// CacheBytes are those that only the cache holds, and CacheReclaimable those
	// of them that no command is using.
	CacheBytes, CacheReclaimable int64
}

// ImageUsage is what one image takes: blobs by their length, trees by the blocks
// of the disk. Unique bytes are free when it goes alone; Shared ones are other
// images', or cached steps', too.
type ImageUsage struct{ Shared, Unique int64 }

// DiskUsage measures the store. used tells which images containers use. It works
// in the user namespace only.
func (c *Collector) DiskUsage(used func(id digest.Digest) bool) (*DiskUsage, error) {
	u, err := c.measure()
	if err != nil {
		return nil, err
	}
	h, err := c.heldByOthers()
	if err != nil {
		return nil, err
	}
	if _, err := u.protect(h); err != nil {
		return nil, err
	}
	prunable, err := u.choose(func(u *usage) ([]*Entry, error) { return u.pick(Limits{}), nil })
	if err != nil {
		return nil, err
	}
	d := &DiskUsage{Cache: u.entries, CacheBytes: u.total(nil), CacheReclaimable: prunable.pruned.Bytes}
	images, err := u.imageParts()
	if err != nil {
		return nil, err
	}
	d.addImages(images, u.cachedParts(), used)
	return d, nil
}

// part is a blob, or the trees of one record.
type part struct {
	tree bool
	digest.Digest
}

// parts are what something needs, with the bytes of each.
type parts map[part]int64

// addImages sums up what images take. A part counts as shared if more than one
// image has it, or a cached step.
func (d *DiskUsage) addImages(images map[digest.Digest]parts, cached parts, used func(digest.Digest) bool) {
	holders, needed := map[part]int{}, map[part]bool{}
	for id, own := range images {
		inUse := used(id)
		for p := range own {
			holders[p]++
			needed[p] = needed[p] || inUse
		}
	}
	d.Images = make(map[digest.Digest]ImageUsage, len(images))
	counted := map[part]bool{}
	for id, own := range images {
		var usage ImageUsage
		for p, bytes := range own {
			_, isCached := cached[p]
			if holders[p] > 1 || isCached {
				usage.Shared += bytes
			} else {
				usage.Unique += bytes
			}
			if counted[p] {
				continue
			}
			counted[p] = true
			d.ImageBytes += bytes
			if !needed[p] && !isCached {
				d.ImagesReclaimable += bytes
			}
		}
		d.Images[id] = usage
	}
}

// imageParts gives what each image needs, by its id.
func (u *usage) imageParts() (map[digest.Digest]parts, error) {
	list, err := u.c.Layout.List()
	if err != nil {
		return nil, err
	}
	images := map[digest.Digest]parts{}
	for _, img := range list {
		own := images[img.ID]
		if own == nil {
			own = parts{}
			images[img.ID] = own
			if err := u.addTrees(own, img); err != nil {
				return nil, err
			}
		}
		blobs, err := u.c.Layout.Blobs(img)
		if err != nil {
			return nil, err
		}
		for _, d := range blobs {
			if st, err := os.Lstat(u.c.Layout.BlobPath(d)); err == nil {
				own[part{Digest: d}] = st.Size()
			}
		}
	}
	return images, nil
}

// addTrees adds the trees of an image's layers.
func (u *usage) addTrees(own parts, img layout.Image) error {
	config, err := u.c.Layout.Config(img)
	if errors.Is(err, layout.ErrAbsent) || errors.Is(err, layout.ErrInvalid) {
		return nil // it has no trees
	}
	if err != nil {
		return err
	}
	u.follow(own, chainIDs(config.RootFS.DiffIDs))
	return nil
}

// cachedParts gives the trees that cached steps and failed ones need.
func (u *usage) cachedParts() parts {
	cached := parts{}
	for _, e := range u.entries {
		u.follow(cached, e.trees())
		if e.Step != nil {
			u.follow(cached, rootsOf(e.Step))
		}
	}
	for _, step := range u.others {
		u.follow(cached, rootsOf(step))
	}
	return cached
}

// follow adds the trees of keys, with those below and behind them.
func (u *usage) follow(own parts, keys []snapshot.Key) {
	todo := append([]snapshot.Key(nil), keys...)
	for len(todo) > 0 {
		key := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		rec, at := u.records[key], part{tree: true, Digest: key}
		if _, seen := own[at]; seen || rec == nil {
			continue
		}
		own[at] = 0
		for root, ref := range rec.Trees {
			own[at] += u.sizes[root+"/"+ref.ID]
		}
		todo = append(todo, rec.Parent, rec.Alias)
	}
}
