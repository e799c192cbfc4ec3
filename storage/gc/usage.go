package gc

import (
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Entry is one thing that the build cache holds.
type Entry struct {
	// Key is the step's, the failed step's, or that of a base image's tree, of
	// which no image is left. Step and Failure are nil for the latter.
	Key     cache.Key
	Step    *cache.Step
	Failure *cache.Failure
	// Mount is set for a directory of RUN --mount=type=cache, which has no key.
	Mount *cache.MountInfo
	// InUse says that a running command uses it, so that it can't be removed.
	InUse bool
	// Used is when a build has last used it, or a step that stands on it.
	Used time.Time
	// Bytes are those of its tree, blobs and log. They are free when it is
	// removed, unless it is Shared: an image has them too.
	Bytes  int64
	Shared bool
}

// isBase says whether it goes by itself, with the last that stands on it.
func (e *Entry) isBase() bool { return e.Step == nil && e.Failure == nil && e.Mount == nil }

// trees gives the keys of the trees that the entry needs, its own first.
func (e *Entry) trees() []snapshot.Key {
	switch {
	case e.Failure != nil:
		return e.Failure.Trees()
	case e.Step != nil:
		return []snapshot.Key{e.Step.Result}
	}
	return nil
}

// Usage tells what the build cache holds, the least recently used first, and
// how many bytes only it holds. It measures each tree once in its life, which
// works in the user namespace only.
func (c *Collector) Usage() ([]*Entry, int64, error) {
	u, err := c.measure()
	if err != nil {
		return nil, 0, err
	}
	h, err := c.heldByOthers()
	if err != nil {
		return nil, 0, err
	}
	_, err = u.protect(h)
	return u.entries, u.total(nil), err
}

// blobs are bytes of blobs.
type blobs map[digest.Digest]int64

// usage is the cache, measured.
type usage struct {
	c       *Collector
	entries []*Entry
	others  []*cache.Step          // that hold no tree: aliases, dates of images
	above   map[cache.Key][]*Entry // steps by the result that they follow
	images  map[cache.Key]bool     // records that images lead to
	own     map[cache.Key]int64    // bytes of a step's record and log
	bytes   map[cache.Key]int64    // of a record's trees
	blobs   map[cache.Key]blobs    // of a record
	imaged  blobs                  // those of them that images have
	records map[cache.Key]*snapshot.Record
	sizes   map[string]int64 // to be remembered
}

func (c *Collector) measure() (*usage, error) {
	u := &usage{
		c: c, above: map[cache.Key][]*Entry{}, images: map[cache.Key]bool{},
		own: map[cache.Key]int64{}, bytes: map[cache.Key]int64{}, blobs: map[cache.Key]blobs{}, sizes: map[string]int64{},
	}
	roots, err := c.imageRoots()
	if err != nil {
		return nil, err
	}
	images, err := c.follow(roots)
	if err != nil {
		return nil, err
	}
	for key := range images {
		u.images[key] = true
	}
	if u.records, err = c.liveRecords(); err != nil {
		return nil, err
	}
	if err := u.measureRecords(); err != nil {
		return nil, err
	}
	if err := u.addSteps(); err != nil {
		return nil, err
	}
	if err := u.addFailures(); err != nil {
		return nil, err
	}
	u.addBases()
	if err := u.addMounts(); err != nil {
		return nil, err
	}
	u.sort()
	u.c.Cache.PutSizes(u.sizes)
	return u, nil
}

// measureRecords measures the trees and blobs of all live records.
func (u *usage) measureRecords() error {
	known := u.c.Cache.Sizes()
	for key, rec := range u.records {
		for root, ref := range rec.Trees {
			name := root + "/" + ref.ID
			bytes, ok := known[name]
			if !ok {
				var err error
				if bytes, err = diskUsage(snapshot.TreePath(u.c.Snapshots, root, ref.ID)); err != nil {
					return err
				}
			}
			u.sizes[name] = bytes
			u.bytes[key] += bytes
		}
	}
	return u.measureBlobs()
}

// measureBlobs measures the blobs of all live records, and finds out which of them
// images have: pulled again, say, after an image that was built had gone.
func (u *usage) measureBlobs() error {
	all := packedBlobs(u.records)
	u.imaged = make(blobs, len(all))
	for d := range all {
		if st, err := os.Lstat(u.c.Layout.BlobPath(d)); err == nil {
			u.imaged[d] = st.Size()
		}
	}
	for key, rec := range u.records {
		for _, p := range rec.Packings {
			if size, there := u.imaged[p.Blob.Digest]; there {
				if u.blobs[key] == nil {
					u.blobs[key] = blobs{}
				}
				u.blobs[key][p.Blob.Digest] = size
			}
		}
	}
	only, err := u.c.Layout.Unreferenced(slices.Collect(maps.Keys(u.imaged)))
	for _, d := range only {
		delete(u.imaged, d)
	}
	return err
}

// bytesOf gives what is free when a record goes, but for what other records need
// too; of one that an image leads to, what the image has of it as well.
func (u *usage) bytesOf(key cache.Key) int64 {
	sum := u.bytes[key]
	for d, size := range u.blobs[key] {
		if _, imaged := u.imaged[d]; !imaged || u.images[key] {
			sum += size
		}
	}
	return sum
}

func (u *usage) addSteps() error {
	steps, _, err := u.c.steps()
	if err != nil {
		return err
	}
	for _, step := range steps {
		if step.Result == "" {
			u.others = append(u.others, step)
			continue
		}
		u.own[step.Key] = u.c.Cache.Size(step)
		e := &Entry{
			Key: step.Key, Step: step, Used: u.c.Cache.LastUsed(step.Key), Shared: u.images[step.Result],
			Bytes: u.bytesOf(step.Result) + u.own[step.Key],
		}
		u.entries = append(u.entries, e)
		if step.Follows {
			u.above[step.Parent] = append(u.above[step.Parent], e)
		}
	}
	// steps gives what follows behind what it follows.
	for _, e := range slices.Backward(u.entries) {
		for _, later := range u.above[e.Step.Result] {
			if later.Used.After(e.Used) {
				e.Used = later.Used
			}
		}
	}
	return nil
}

// addFailures adds the failed steps that are kept. Nothing stands on them.
func (u *usage) addFailures() error {
	failures, err := u.c.Cache.Failures()
	if err != nil {
		return err
	}
	for _, f := range failures {
		u.entries = append(u.entries, &Entry{Key: f.Key, Failure: f, Used: f.Failed, Bytes: u.bytesOf(f.Key)})
	}
	return nil
}

// addBases adds the trees of images that were removed: steps stand on them.
func (u *usage) addBases() {
	results := map[cache.Key]bool{}
	used := map[cache.Key]time.Time{}
	for _, e := range u.entries {
		results[e.trees()[0]] = true
		for _, tree := range e.trees() {
			for key := u.below(tree); key != ""; key = u.below(key) {
				if !used[key].After(e.Used) {
					used[key] = e.Used
				}
			}
		}
	}
	for key := range u.records {
		if bytes := u.bytesOf(key); !results[key] && !u.images[key] && bytes > 0 {
			u.entries = append(u.entries, &Entry{Key: key, Used: used[key], Bytes: bytes})
		}
	}
}

func (u *usage) below(key cache.Key) cache.Key {
	if rec := u.records[key]; rec != nil {
		return rec.Parent
	}
	return ""
}

// sort puts the least recently used first, and of those used at once what
// stands on others.
func (u *usage) sort() {
	depth := map[cache.Key]int{}
	for i, e := range u.entries {
		if !e.isBase() {
			depth[e.Key] = i // steps stand behind those that they follow
		}
	}
	slices.SortFunc(u.entries, func(a, b *Entry) int {
		if d := a.Used.Compare(b.Used); d != 0 {
			return d
		}
		if d := depth[b.Key] - depth[a.Key]; d != 0 {
			return d
		}
		return strings.Compare(string(a.Key), string(b.Key))
	})
}

// set are entries that are to go.
type set map[*Entry]bool

// total gives the bytes that only the cache holds once the entries in gone went:
// a base's go with the last step that stands on it, a blob's with the last that
// was packed into it.
func (u *usage) total(gone set) int64 {
	needed := map[cache.Key]bool{}
	packed := blobs{}
	var bytes int64
	for _, e := range u.entries {
		if gone[e] {
			continue
		}
		if e.Mount != nil {
			bytes += e.Bytes
			continue
		}
		if e.isBase() {
			continue
		}
		if !e.Shared {
			bytes += u.own[e.Key]
		}
		for _, tree := range e.trees() {
			maps.Copy(packed, u.blobs[tree])
			for key := tree; key != "" && !needed[key] && !u.images[key]; key = u.below(key) {
				needed[key] = true
				bytes += u.bytes[key]
				maps.Copy(packed, u.blobs[key])
			}
		}
	}
	for d, size := range packed {
		if _, imaged := u.imaged[d]; !imaged {
			bytes += size
		}
	}
	return bytes
}

// TreeBytes measures the trees and blobs that are recorded under keys.
func (c *Collector) TreeBytes(keys []snapshot.Key) (int64, error) {
	var sum int64
	for _, key := range keys {
		rec, err := c.Records.Get(key)
		if err != nil {
			continue // it was dropped meanwhile
		}
		for root, ref := range rec.Trees {
			bytes, err := diskUsage(snapshot.TreePath(c.Snapshots, root, ref.ID))
			if err != nil {
				return 0, err
			}
			sum += bytes
		}
		for _, p := range rec.Packings {
			sum += p.Blob.Size
		}
	}
	return sum, nil
}

// DirBytes gives the bytes that a directory takes, each file once.
func DirBytes(dir string) (int64, error) { return diskUsage(dir) }
