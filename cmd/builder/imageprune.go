package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/layout"
)

func imagePruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "Remove images that nothing uses",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also images with a name that no container uses"},
			pruneFilterFlag(),
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
		},
		Action: coded(noArguments(imagePrune)),
	}
}

// pruneFilters are the keys of --filter of commands that prune.
var pruneFilters = []string{"label", "label!", "until"}

func pruneFilterFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "filter", Usage: "only what `KEY=VALUE` is true of: label, label!, until (made before)"}
}

func readPruneFilter(c *cli.Context) (filter.Set, error) {
	set, err := filter.Parse(c.StringSlice("filter"))
	if err != nil {
		return set, err
	}
	return set, set.Check(pruneFilters...)
}

const (
	danglingWarning = "WARNING! This will remove all dangling images.\n"
	unusedWarning   = "WARNING! This will remove all images without at least one container associated to them.\n"
)

func imagePrune(c *cli.Context) error {
	set, err := readPruneFilter(c)
	if err != nil {
		return err
	}
	if !userns.Inside() {
		warning := danglingWarning
		if c.Bool("all") {
			warning = unusedWarning
		}
		if agreed, err := agree(c, warning); err != nil || !agreed {
			return err
		}
		return enterWithout(c)
	}
	return pruneInside(c, func(store *storage.Store) (*pruning, error) {
		return pruneImages(c.Context, store, c.Bool("all"), set)
	})
}

// pruneInside calls prune with the store, cleared of what killed commands have
// left, and tells what it did.
func pruneInside(c *cli.Context, prune func(*storage.Store) (*pruning, error)) error {
	return withStore(c, func(store *storage.Store) error {
		// A tree goes after its container.
		if err := errors.Join(sweepContainers(c.Context, store), store.Sweep(c.Context, true)); err != nil {
			return err
		}
		p, err := prune(store)
		if err != nil {
			return err
		}
		return p.print(c)
	})
}

// pruning is what a prune command has removed.
type pruning struct {
	blocks []string // docker's, a kind of things each
	bytes  int64
	later  bool // others use some of it: a later command frees that
}

func (p *pruning) add(heading string, lines []string) {
	if len(lines) > 0 {
		p.blocks = append(p.blocks, heading+"\n"+strings.Join(lines, "\n")+"\n")
	}
}

func (p *pruning) addFreed(f gc.Freed) {
	p.bytes += f.Bytes
	p.later = p.later || !f.Done
}

func (p *pruning) print(c *cli.Context) error {
	text := strings.Join(append(p.blocks, ""), "\n") + "Total reclaimed space: " + format.LongSize(p.bytes)
	if p.later {
		text += " (more when the commands that use the store have ended)"
	}
	_, err := fmt.Fprintln(c.App.Writer, text)
	return err
}

// pruneImages removes the images that set lets through and that no container
// uses: with all those with names too. It works inside the user namespace.
func pruneImages(ctx context.Context, store *storage.Store, all bool, set filter.Set) (*pruning, error) {
	images, err := store.Layout().List()
	if err != nil {
		return nil, err
	}
	if !all {
		set.Add("dangling", "true")
	}
	if images, err = store.Layout().Select(images, set); err != nil {
		return nil, err
	}
	p := &pruning{}
	var lines []string
	var free layout.Free
	o := layout.RemoveOptions{Force: true, OnlyDangling: !all, Users: asRunning(imageUsers(store))}
	for _, image := range layout.Summarize(images) {
		removed, err := store.Layout().Remove(ctx, image.ID.String(), o)
		if errors.Is(err, layout.ErrConflict) || errors.Is(err, layout.ErrUnknown) {
			continue // a container uses it, or somebody else has removed it
		}
		if err != nil {
			return nil, err
		}
		free.Blobs = append(free.Blobs, removed.Blobs...)
		free.Layers = append(free.Layers, removed.Layers...)
		for _, line := range removalLines(removed) {
			lines = append(lines, strings.ToLower(line[:1])+line[1:])
		}
	}
	p.add("Deleted Images:", lines)
	if len(lines) == 0 {
		return p, nil
	}
	collector := store.Collector(true)
	collector.Weigh = true
	freed, err := collector.FreeUnreferenced(ctx, free)
	p.addFreed(freed)
	return p, err
}

// asRunning has stopped containers keep their images too.
func asRunning(users func(digest.Digest) []layout.User) func(digest.Digest) []layout.User {
	return func(id digest.Digest) []layout.User {
		found := users(id)
		for i := range found {
			found[i].Running = true
		}
		return found
	}
}

// danglingIDs gives those of images that have no tag.
func danglingIDs(store *storage.Store, images []layout.Image) ([]string, error) {
	set := filter.Set{}
	set.Add("dangling", "true")
	images, err := store.Layout().Select(images, set)
	var refs []string
	for _, image := range layout.Summarize(images) {
		refs = append(refs, image.ID.String())
	}
	return refs, err
}
