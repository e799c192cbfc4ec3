package gc

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Kind says what a Problem is about.
type Kind string

// The kinds of problems.
const (
	KindIndex    Kind = "index"    // index.json is unreadable: no image can be found
	KindBlob     Kind = "blob"     // missing or damaged
	KindRecord   Kind = "record"   // of a snapshot: unreadable, or leads nowhere
	KindTree     Kind = "tree"     // a record names it, but it isn't whole
	KindStep     Kind = "step"     // of the cache: unreadable, or leads nowhere
	KindLeftover Kind = "leftover" // of a killed command, or set free
)

// Problem is something in the store that isn't as it should be.
type Problem struct {
	Kind Kind
	// Path is the file or directory that it is about.
	Path string
	// What is wrong, in one line.
	What string
	// Harmless problems hinder nothing, and go with one of the next commands.
	Harmless bool

	digest digest.Digest  // of a blob
	images []layout.Image // that need the blob
	key    digest.Digest  // of a record or step
	tree   tree
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s", p.Path, p.What) }

// Check verifies the whole store: the digest and size of every blob, what every
// record leads to, the presence of every tree. Leftovers can only be told where
// nobody else uses the store; complete says whether they were looked for.
func (c *Collector) Check(ctx context.Context) (problems []Problem, complete bool, err error) {
	complete, err = c.alone(ctx, func() error {
		problems, err = c.check(ctx, true)
		return err
	})
	if err != nil || complete {
		return problems, complete, err
	}
	problems, err = c.check(ctx, false)
	return problems, false, err
}

func (c *Collector) check(ctx context.Context, alone bool) ([]Problem, error) {
	var problems []Problem
	checks := []func(context.Context) ([]Problem, error){c.checkBlobs, c.checkRecords, c.checkSteps}
	if alone {
		checks = append(checks, c.checkLeftovers)
	}
	for _, check := range checks {
		found, err := check(ctx)
		if err != nil {
			return nil, err
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

// need is a blob to be verified, and the images that can't do without it.
type need struct {
	v1.Descriptor
	images []layout.Image
}

// needs are blobs by their digest, in the order in which they were found.
type needs struct {
	byDigest map[digest.Digest]*need
	order    []*need
	// reached are the blobs that others lead to, whether needed or not.
	reached map[digest.Digest]bool
}

func (n *needs) add(d v1.Descriptor, img layout.Image) {
	n.reached[d.Digest] = true
	b := n.byDigest[d.Digest]
	if b == nil {
		b = &need{Descriptor: d}
		n.byDigest[d.Digest] = b
		n.order = append(n.order, b)
	}
	same := func(i layout.Image) bool { return i.ID == img.ID && i.Name == img.Name }
	if !slices.ContainsFunc(b.images, same) {
		b.images = append(b.images, img)
	}
}

// checkBlobs verifies what images need and steps have packed, and lists blobs
// that nothing leads to.
func (c *Collector) checkBlobs(ctx context.Context) ([]Problem, error) {
	images, err := c.Layout.List()
	if err != nil {
		return []Problem{{Kind: KindIndex, Path: c.indexPath(), What: err.Error()}}, nil
	}
	if cut, err := c.cutShort(images); err != nil || cut {
		return []Problem{{Kind: KindIndex, Path: c.indexPath(), What: errCutShort.Error()}}, err
	}
	n := &needs{byDigest: map[digest.Digest]*need{}, reached: map[digest.Digest]bool{}}
	for _, img := range images {
		c.collect(n, img)
	}
	records, err := c.allRecords()
	if err != nil {
		return nil, err
	}
	packed := packedBlobs(records)
	var strays []Problem
	err = c.eachBlob(func(d digest.Digest, st fs.FileInfo) {
		switch blob, known := packed[d]; {
		case n.byDigest[d] != nil:
		case known:
			n.order = append(n.order, &need{Descriptor: blob})
		case n.reached[d]:
			n.order = append(n.order, &need{Descriptor: v1.Descriptor{Digest: d, Size: st.Size()}})
		default:
			strays = append(strays, Problem{
				Kind: KindLeftover, Path: c.Layout.BlobPath(d), What: "neither image nor step leads to this blob",
				Harmless: true, digest: d,
			})
		}
	})
	if err != nil {
		return nil, err
	}
	problems, err := c.verify(ctx, n.order)
	return append(problems, strays...), err
}

// collect adds the blobs that img needs. A manifest that can't be read tells
// of no others, and is found when it is verified.
func (c *Collector) collect(n *needs, img layout.Image) {
	if img.Index != nil {
		n.add(*img.Index, img)
		c.reachPlatforms(n, img.Index.Digest)
	}
	n.add(img.Manifest, img)
	m, err := c.Layout.Manifest(img)
	if err != nil {
		return
	}
	n.add(m.Config, img)
	for _, l := range m.Layers {
		n.add(l, img)
	}
}

// reachPlatforms notes what an index leads to: other tools may have put further
// platforms there, which builder doesn't need.
func (c *Collector) reachPlatforms(n *needs, index digest.Digest) {
	var to struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    *v1.Descriptor  `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
	}
	data, err := c.Layout.ReadBlob(index)
	if err != nil || json.Unmarshal(data, &to) != nil {
		return
	}
	if to.Config != nil {
		n.reached[to.Config.Digest] = true
	}
	for _, l := range to.Layers {
		n.reached[l.Digest] = true
	}
	for _, m := range to.Manifests {
		if !n.reached[m.Digest] {
			n.reached[m.Digest] = true
			c.reachPlatforms(n, m.Digest)
		}
	}
}

// verify reads every blob, several at a time.
func (c *Collector) verify(ctx context.Context, blobs []*need) ([]Problem, error) {
	var mu sync.Mutex
	found := map[digest.Digest]Problem{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, b := range blobs {
		g.Go(func() error {
			what, err := c.damage(ctx, b.Descriptor)
			if err != nil || what == "" {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found[b.Digest] = Problem{
				Kind: KindBlob, Path: c.Layout.BlobPath(b.Digest), What: what + neededBy(b.images),
				digest: b.Digest, images: b.images,
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var problems []Problem
	for _, b := range blobs {
		if p, ok := found[b.Digest]; ok {
			problems = append(problems, p)
		}
	}
	return problems, nil
}

// damage says what is wrong with a blob, or nothing.
func (c *Collector) damage(ctx context.Context, d v1.Descriptor) (string, error) {
	f, err := os.Open(c.Layout.BlobPath(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return "blob is missing", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, &ending{f, ctx})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	switch {
	case err != nil:
		return fmt.Sprintf("blob can't be read: %v", err), nil
	case n != d.Size:
		return fmt.Sprintf("blob has %d bytes, not %d", n, d.Size), nil
	case digest.NewDigest(digest.SHA256, hash) != d.Digest:
		return "blob's content doesn't match its digest", nil
	}
	return "", nil
}

// ending ends reading with a context.
type ending struct {
	r   io.Reader
	ctx context.Context
}

func (e *ending) Read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(p)
}

func neededBy(images []layout.Image) string {
	if len(images) == 0 {
		return ""
	}
	names := make([]string, 0, len(images))
	for _, img := range images {
		names = append(names, nameOf(img))
	}
	return ": needed by " + strings.Join(names, ", ")
}

func nameOf(img layout.Image) string {
	if img.Name == "" {
		return img.ID.Encoded()[:12]
	}
	return layout.Familiar(img.Name)
}

// checkRecords looks whether what the records of snapshots name is there.
func (c *Collector) checkRecords(ctx context.Context) ([]Problem, error) {
	boot, err := snapshot.BootID()
	if err != nil {
		return nil, err
	}
	keys, err := c.Records.Keys()
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := c.Records.Path(key)
		rec, err := c.Records.Get(key)
		if err != nil {
			problems = append(problems, Problem{Kind: KindRecord, Path: path, What: "unreadable", key: key})
			continue
		}
		if rec.Alias != "" {
			if _, err := c.Records.Get(rec.Alias); err != nil {
				problems = append(problems, Problem{
					Kind: KindRecord, Path: path, What: "its tree is that of " + rec.Alias.String() + ", of which nothing is known", key: key,
				})
			}
		}
		problems = append(problems, c.checkTrees(rec, boot)...)
	}
	return problems, nil
}

// checkTrees passes over trees of another boot: they count as absent.
func (c *Collector) checkTrees(rec *snapshot.Record, boot string) []Problem {
	var problems []Problem
	for _, root := range slices.Sorted(maps.Keys(rec.Trees)) {
		ref := rec.Trees[root]
		if !ref.Counts(boot) {
			continue
		}
		id := ref.ID
		p := Problem{
			Kind: KindTree, Path: snapshot.TreePath(c.Snapshots, root, id), key: rec.Key, tree: tree{root, id},
		}
		if err := snapshot.Whole(c.Snapshots, root, id); err != nil {
			p.What = "tree isn't whole: " + err.Error()
			problems = append(problems, p)
			continue
		}
		if rec.Parent == "" {
			continue
		}
		if _, err := c.Records.Get(rec.Parent); err != nil {
			p.What = "nothing is known of the tree below, " + rec.Parent.String()
			problems = append(problems, p)
		}
	}
	return problems
}

// checkSteps looks whether what the cache's steps lead to is there.
func (c *Collector) checkSteps(ctx context.Context) ([]Problem, error) {
	keys, err := c.Cache.Keys()
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if what := c.stepDamage(key); what != "" {
			problems = append(problems, Problem{Kind: KindStep, Path: c.Cache.StepPath(key), What: what, key: key})
		}
	}
	return problems, nil
}

func (c *Collector) stepDamage(key digest.Digest) string {
	step, err := c.Cache.Step(key)
	if err != nil {
		return "unreadable"
	}
	if what := c.resultDamage(step); what != "" || step.Log == "" {
		return what
	}
	if _, err := os.Lstat(c.Cache.LogPath(step)); err != nil {
		return "its output is missing: " + err.Error()
	}
	return ""
}

func (c *Collector) resultDamage(step *cache.Step) string {
	if step.Result == "" {
		return ""
	}
	if _, err := c.Records.Get(step.Result); err != nil {
		return "nothing is known of its result " + step.Result.String()
	}
	return ""
}

// checkLeftovers lists what killed commands left. It is right only where
// nobody else uses the store.
func (c *Collector) checkLeftovers(ctx context.Context) ([]Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	paths, err := c.rubbish()
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, path := range paths {
		problems = append(problems, Problem{Kind: KindLeftover, Path: path, What: "left by a command that was killed", Harmless: true})
	}
	records, err := c.allRecords()
	if err != nil {
		return nil, err
	}
	dead, err := c.deadTrees(records)
	if err != nil {
		return nil, err
	}
	for _, t := range dead {
		problems = append(problems, Problem{
			Kind: KindLeftover, Path: snapshot.TreePath(c.Snapshots, t.root, t.id),
			What: "no record names this tree", Harmless: true, tree: t,
		})
	}
	return problems, nil
}

func (c *Collector) allRecords() (map[snapshot.Key]*snapshot.Record, error) {
	keys, err := c.Records.Keys()
	if err != nil {
		return nil, err
	}
	records := map[snapshot.Key]*snapshot.Record{}
	for _, key := range keys {
		if rec, err := c.Records.Get(key); err == nil {
			records[key] = rec
		}
	}
	return records, nil
}
