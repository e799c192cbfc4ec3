package gc

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// tree is a tree by its driver root and its id there.
type tree struct{ root, id string }

// freeTrees removes records that no image, cached step or failed one leads to,
// and trees that no record names or stands on, and gives the bytes of these. The
// caller is alone with the store.
func (c *Collector) freeTrees(ctx context.Context) (int64, error) {
	if err := c.forgetLost(); err != nil {
		return 0, err
	}
	live, err := c.liveRecords()
	if err != nil {
		return 0, err
	}
	if err := c.forgetDead(live); err != nil {
		return 0, err
	}
	dead, err := c.deadTrees(live)
	if err != nil {
		return 0, err
	}
	return c.removeTrees(ctx, dead)
}

// forgetDead removes all records but the live ones.
func (c *Collector) forgetDead(live map[snapshot.Key]*snapshot.Record) error {
	keys, err := c.Records.Keys()
	if err != nil {
		return err
	}
	gone := map[snapshot.Key]*snapshot.Record{}
	for _, key := range keys {
		if live[key] != nil || key.Validate() != nil {
			continue
		}
		if gone[key], err = c.Records.Get(key); err != nil {
			gone[key] = &snapshot.Record{} // unreadable: it leads nowhere
		}
	}
	return c.forgetRecords(gone)
}

// forgetRecords removes records, each before those that it leads to: who is killed
// meanwhile leaves none that leads nowhere.
func (c *Collector) forgetRecords(gone map[snapshot.Key]*snapshot.Record) error {
	for _, key := range leadingFirst(gone) {
		if err := c.Records.Remove(key); err != nil {
			return err
		}
	}
	return nil
}

// leadingFirst gives the keys of records, each before those of the records below and
// behind its own.
func leadingFirst(records map[snapshot.Key]*snapshot.Record) []snapshot.Key {
	order := make([]snapshot.Key, 0, len(records))
	seen := map[snapshot.Key]bool{}
	var visit func(key snapshot.Key)
	visit = func(key snapshot.Key) {
		rec := records[key]
		if rec == nil || seen[key] {
			return
		}
		seen[key] = true
		visit(rec.Parent)
		visit(rec.Alias)
		order = append(order, key)
	}
	for key := range records {
		visit(key)
	}
	slices.Reverse(order)
	return order
}

// liveRecords gives the records that images and steps (failed ones too) lead to,
// with those below and behind them.
func (c *Collector) liveRecords() (map[snapshot.Key]*snapshot.Record, error) {
	todo, err := c.roots(false)
	if err != nil {
		return nil, err
	}
	return c.follow(todo)
}

// standingRecords gives the live records and those that lost steps lead to. These
// steps go only when somebody is alone with the store; until then what they stand on
// stays, or they would stand on nothing.
func (c *Collector) standingRecords() (map[snapshot.Key]*snapshot.Record, error) {
	todo, err := c.roots(true)
	if err != nil {
		return nil, err
	}
	return c.follow(todo)
}

// follow gives the records of keys, with those below and behind them.
func (c *Collector) follow(keys []snapshot.Key) (map[snapshot.Key]*snapshot.Record, error) {
	live := map[snapshot.Key]*snapshot.Record{}
	todo := slices.Clone(keys) // whoever calls may need them again
	for len(todo) > 0 {
		key := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if key == "" || live[key] != nil || key.Validate() != nil {
			continue // nothing can be recorded of what isn't a key
		}
		rec, err := c.Records.Get(key)
		if errors.Is(err, snapshot.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		live[key] = rec
		todo = append(todo, rec.Parent, rec.Alias)
	}
	return live, nil
}

// packedBlobs gives the blobs that records name.
func packedBlobs(records map[snapshot.Key]*snapshot.Record) map[digest.Digest]v1.Descriptor {
	blobs := map[digest.Digest]v1.Descriptor{}
	for _, rec := range records {
		for _, p := range rec.Packings {
			blobs[p.Blob.Digest] = p.Blob
		}
	}
	return blobs
}

// roots gives the keys that are alive by themselves, and if asked those of lost
// steps.
func (c *Collector) roots(withLost bool) ([]snapshot.Key, error) {
	images, err := c.imageRoots()
	if err != nil {
		return nil, err
	}
	steps, err := c.stepRoots(withLost)
	return append(images, steps...), err
}

// stepRoots gives the keys that steps and failed ones keep alive.
func (c *Collector) stepRoots(withLost bool) (keys []snapshot.Key, err error) {
	steps, lost, err := c.steps()
	if err != nil {
		return nil, err
	}
	if withLost {
		steps = append(steps, lost...)
	}
	for _, step := range steps {
		keys = append(keys, rootsOf(step)...)
	}
	failures, err := c.Cache.Failures()
	if err != nil {
		return nil, err
	}
	for _, f := range failures {
		keys = append(keys, f.Trees()...)
	}
	return keys, nil
}

// rootsOf gives the keys that a step keeps alive.
func rootsOf(step *cache.Step) []snapshot.Key {
	return []snapshot.Key{step.Key, step.Result, step.Parent}
}

// configsAtOnce is how many images a goroutine looks into.
const configsAtOnce = 256

// imageRoots gives the chain IDs of all images, and what containers stand on.
func (c *Collector) imageRoots() ([]snapshot.Key, error) {
	kept, err := c.keptRoots()
	if err != nil {
		return nil, err
	}
	images, err := c.Layout.List()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(images, func(a, b layout.Image) int { return strings.Compare(string(a.ID), string(b.ID)) })
	images = slices.CompactFunc(images, func(a, b layout.Image) bool { return a.ID == b.ID })
	keys := make([][]snapshot.Key, (len(images)+configsAtOnce-1)/configsAtOnce)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range keys {
		some := images[i*configsAtOnce : min((i+1)*configsAtOnce, len(images))]
		group.Go(func() (err error) {
			keys[i], err = c.rootsOfImages(some)
			return err
		})
	}
	err = group.Wait()
	return append(slices.Concat(keys...), kept...), err
}

func (c *Collector) rootsOfImages(images []layout.Image) ([]snapshot.Key, error) {
	var keys []snapshot.Key
	for _, img := range images {
		config, err := c.Layout.Config(img)
		if errors.Is(err, layout.ErrAbsent) || errors.Is(err, layout.ErrInvalid) {
			continue // it has no trees
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, chainIDs(config.RootFS.DiffIDs)...)
	}
	return keys, nil
}

// steps parts the recorded steps into those that a build can still come to, and
// those that stand on a result which no record has any more: the step that had
// it was executed again.
func (c *Collector) steps() (live, lost []*cache.Step, err error) {
	keys, err := c.Cache.Keys()
	if err != nil {
		return nil, nil, err
	}
	above := map[digest.Digest][]*cache.Step{}
	for _, key := range keys {
		step, err := c.Cache.Step(key)
		switch {
		case err != nil: // as good as not there
		case step.Follows:
			above[step.Parent] = append(above[step.Parent], step)
		default:
			live = append(live, step)
		}
	}
	for i := 0; i < len(live); i++ {
		live = append(live, above[live[i].Result]...)
		delete(above, live[i].Result)
	}
	for _, steps := range above {
		lost = append(lost, steps...)
	}
	return live, lost, nil
}

// forgetLost removes the records of steps that no build can come to, and of
// failed ones that nobody can open any more.
func (c *Collector) forgetLost() error {
	if err := c.forgetUnopenable(); err != nil {
		return err
	}
	_, lost, err := c.steps()
	if err != nil {
		return err
	}
	for _, step := range lost {
		if err := c.Cache.RemoveStep(step); err != nil {
			return err
		}
	}
	return nil
}

// forgetUnopenable removes the records of failed steps that can't be read, or
// whose trees are of another boot.
func (c *Collector) forgetUnopenable() error {
	boot, err := bootid.Get()
	if err != nil {
		return err
	}
	keys, err := c.Cache.FailureKeys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		f, err := c.Cache.Failure(key)
		if err != nil && !errors.Is(err, cache.ErrNotFound) {
			return err
		}
		if err == nil && f.Boot == boot {
			continue
		}
		if err := c.Cache.RemoveFailure(key); err != nil {
			return err
		}
	}
	return nil
}

// chainIDs gives the chain ID of each layer, as the OCI image specification
// defines it.
func chainIDs(diffIDs []digest.Digest) []digest.Digest {
	chain := make([]digest.Digest, 0, len(diffIDs))
	for i, d := range diffIDs {
		if i > 0 {
			d = digest.FromString(chain[i-1].String() + " " + d.String())
		}
		chain = append(chain, d)
	}
	return chain
}

// deadTrees gives the trees that the records neither name nor stand on, and that are
// no container's.
func (c *Collector) deadTrees(records map[snapshot.Key]*snapshot.Record) ([]tree, error) {
	live := map[tree]bool{}
	for _, rec := range records {
		for root, ref := range rec.Trees {
			ids, err := snapshot.Stack(c.Snapshots, root, ref.ID)
			if err != nil {
				ids = []string{ref.ID} // torn: it is dropped when it is used
			}
			for _, id := range ids {
				live[tree{root, id}] = true
			}
		}
	}
	if err := c.addKept(live); err != nil {
		return nil, err
	}
	roots, err := snapshot.Roots(c.Snapshots)
	if err != nil {
		return nil, err
	}
	var dead []tree
	for _, root := range roots {
		ids, err := snapshot.IDs(c.Snapshots, root)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if t := (tree{root, id}); !live[t] {
				dead = append(dead, t)
			}
		}
	}
	return dead, nil
}
