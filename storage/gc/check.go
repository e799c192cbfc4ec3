package gc

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Kind says what a Problem is about.
type Kind string

// The kinds of problems.
const (
	KindIndex     Kind = "index"     // index.json is unreadable: no image can be found
	KindBlob      Kind = "blob"      // missing or damaged
	KindRecord    Kind = "record"    // of a snapshot: unreadable, or leads nowhere
	KindTree      Kind = "tree"      // a record names it, but it isn't whole
	KindStep      Kind = "step"      // of the cache: unreadable, or leads nowhere
	KindFailure   Kind = "failure"   // a failed step that is kept: unreadable, or leads nowhere
	KindContainer Kind = "container" // its tree is missing, or nothing is known of it
	KindLeftover  Kind = "leftover"  // of a killed command, or set free
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
	owner  string // of a container's tree
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
	checks := []func(context.Context) ([]Problem, error){c.checkBlobs, c.checkRecords, c.checkSteps, c.checkFailures, c.checkKept}
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

func nameOf(img layout.Image) string {
	if img.Name == "" {
		return img.ID.Encoded()[:12]
	}
	return layout.Familiar(img.Name)
}

// checkRecords looks whether what the records of snapshots name is there.
func (c *Collector) checkRecords(ctx context.Context) ([]Problem, error) {
	boot, err := bootid.Get()
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

// checkFailures looks whether the trees of failed steps are known. Of those of
// another boot nothing is expected.
func (c *Collector) checkFailures(ctx context.Context) ([]Problem, error) {
	boot, err := bootid.Get()
	if err != nil {
		return nil, err
	}
	keys, err := c.Cache.FailureKeys()
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := Problem{Kind: KindFailure, Path: c.Cache.FailurePath(key), key: key}
		f, err := c.Cache.Failure(key)
		if err != nil {
			p.What = "unreadable"
			problems = append(problems, p)
			continue
		}
		for _, tree := range f.Trees() {
			if _, err := c.Records.Get(tree); err != nil && tree != "" && f.Boot == boot {
				p.What = "nothing is known of its tree " + tree.String()
				problems = append(problems, p)
				break
			}
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
	if _, err := c.keptTrees(); err != nil {
		return problems, nil //nolint:nilerr // a problem of its own, with which no tree is nobody's
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
