package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/volume"
)

func volumePruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "Remove volumes that no container has",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that somebody has named"},
			&cli.StringSliceFlag{Name: "filter", Usage: "only what `KEY=VALUE` is true of: label, label!, all"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
		},
		Action: coded(noArguments(volumePrune)),
	}
}

const (
	anonymousWarning = "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
	volumesWarning   = "WARNING! This will remove all local volumes not used by at least one container.\n"
)

func volumePrune(c *cli.Context) error {
	set, err := filter.Parse(c.StringSlice("filter"))
	if err != nil {
		return err
	}
	if err := set.Check("label", "label!", "all"); err != nil {
		return err
	}
	all, err := set.Bool("all", c.Bool("all"))
	if err != nil {
		return err
	}
	if c.Bool("all") && set.Has("all") {
		return fault.New("leave one of them out", "conflicting options: cannot specify both --all and --filter all=1")
	}
	if !userns.Inside() {
		warning := anonymousWarning
		if c.Bool("all") {
			warning = volumesWarning
		}
		if agreed, err := agree(c, warning); err != nil || !agreed {
			return err
		}
		return enterWithout(c)
	}
	return pruneInside(c, func(store *storage.Store) (*pruning, error) {
		p := &pruning{}
		return p, pruneVolumes(c.Context, store, p, all, set)
	})
}

// pruneVolumes removes the volumes that set lets through and that no container has:
// with all those with names too. It works inside the user namespace.
func pruneVolumes(ctx context.Context, store *storage.Store, p *pruning, all bool, set filter.Set) error {
	match := func(v volume.Volume) bool { return (all || v.Anonymous()) && set.HasLabels(v.Labels) }
	removed, err := store.Volumes().Prune(ctx, volumeUsers(containersDir(store), ""), match, gc.DirBytes)
	var names []string
	for _, v := range removed {
		names = append(names, v.Name)
		p.bytes += v.Bytes
	}
	p.add("Deleted Volumes:", names)
	return err
}
