package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/gc"
)

func systemPruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "Remove what nothing uses: stopped containers, images, cache",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also images with a name, and what is cached of their steps"},
			pruneFilterFlag(),
			&cli.BoolFlag{Name: "volumes", Usage: "also anonymous volumes"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
		},
		Action: coded(noArguments(systemPrune)),
	}
}

func systemPrune(c *cli.Context) error {
	set, err := readPruneFilter(c)
	if err != nil {
		return err
	}
	if c.Bool("volumes") && set.Has("until") {
		return &fault.Error{
			Err:    errors.New(`the "until" filter is not supported with "--volumes"`),
			Remedy: "leave one of them out", Code: 1,
		}
	}
	if !userns.Inside() {
		if agreed, err := agree(c, systemPruneWarning(c.Bool("all"), c.Bool("volumes"), set)); err != nil || !agreed {
			return err
		}
		return enterWithout(c)
	}
	return pruneInside(c, func(store *storage.Store) (*pruning, error) {
		return pruneSystem(c.Context, store, c.Bool("all"), c.Bool("volumes"), set)
	})
}

// systemPruneWarning is docker's, but for networks, of which there are none.
func systemPruneWarning(all, volumes bool, set filter.Set) string {
	lines := []string{"WARNING! This will remove:", "  - all stopped containers"}
	if volumes {
		lines = append(lines, "  - all anonymous volumes not used by at least one container")
	}
	images, cache := "all dangling images", "unused build cache"
	if all {
		images, cache = "all images without at least one container associated to them", "all build cache"
	}
	lines = append(lines, "  - "+images, "  - "+cache, "  - files of the store that nothing refers to", "")
	if !set.Empty() {
		lines = append(lines, "  Items to be pruned will be filtered with:")
		for _, key := range pruneFilters {
			for _, value := range slices.Sorted(slices.Values(set.Values(key))) {
				lines = append(lines, "  - "+key+"="+value)
			}
		}
		lines = append(lines, "")
	}
	return strings.Join(lines, "\n") + "\n"
}

// pruneSystem removes what nothing uses, the users before what they used; of volumes
// only those that nobody has named. It works inside the user namespace.
func pruneSystem(ctx context.Context, store *storage.Store, all, volumes bool, set filter.Set) (*pruning, error) {
	before, err := set.Until(time.Now())
	if err != nil {
		return nil, err
	}
	p := &pruning{}
	if err := pruneContainers(ctx, store, p, before, set); err != nil {
		return nil, err
	}
	if volumes {
		if err := pruneVolumes(ctx, store, p, false, set); err != nil {
			return nil, err
		}
	}
	images, err := pruneImages(ctx, store, all, set)
	if err != nil {
		return nil, err
	}
	p.blocks, p.bytes, p.later = append(p.blocks, images.blocks...), p.bytes+images.bytes, images.later
	if err := pruneCache(ctx, store, p, all, before, set); err != nil {
		return nil, err
	}
	collector := store.Collector(true)
	collector.Weigh = true
	swept, err := collector.SweepAll(ctx)
	p.addFreed(swept)
	return p, err
}

// pruneCache removes what is cached: without all, only what no image has too. A
// cached step has no labels.
func pruneCache(ctx context.Context, store *storage.Store, p *pruning, all bool, before time.Time, set filter.Set) error {
	if !set.HasLabels(nil) {
		return nil
	}
	limits := gc.Limits{Before: before}
	if !before.IsZero() || !all {
		limits.Keep = -1
	}
	if !all {
		limits.Match = func(e *gc.Entry) bool { return !e.Shared }
	}
	pruned, err := store.Collector(true).Prune(ctx, limits)
	if err != nil {
		return err
	}
	var ids []string
	for _, e := range pruned.Entries {
		ids = append(ids, e.ID())
	}
	p.add("Deleted build cache objects:", ids)
	p.bytes += pruned.Bytes - pruned.Later
	p.later = p.later || pruned.Later > 0
	return nil
}
