package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
)

func containerPruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "Remove containers that don't run",
		Flags: []cli.Flag{
			pruneFilterFlag(),
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
		},
		Action: coded(noArguments(containerPrune)),
	}
}

func containerPrune(c *cli.Context) error {
	set, err := readPruneFilter(c)
	if err != nil {
		return err
	}
	before, err := set.Until(time.Now())
	if err != nil {
		return err
	}
	if !userns.Inside() {
		if agreed, err := agree(c, "WARNING! This will remove all stopped containers.\n"); err != nil || !agreed {
			return err
		}
		return enterWithout(c)
	}
	return pruneInside(c, func(store *storage.Store) (*pruning, error) {
		p := &pruning{}
		return p, pruneContainers(c.Context, store, p, before, set)
	})
}

// pruneContainers removes the containers that set lets through and that don't run,
// with what they have changed. It works inside the user namespace.
func pruneContainers(ctx context.Context, store *storage.Store, p *pruning, before time.Time, set filter.Set) error {
	var ids []string
	var failed error
	for _, found := range container.List(containersDir(store)) {
		old := before.IsZero() || found.Config.CreatedAt.Before(before)
		if found.State.Lives() || !old || !set.HasLabels(found.Config.Labels) {
			continue
		}
		if err := damaged(found.Config); err != nil { // its labels are unknown, and so are its volumes
			tell(os.Stderr, err)
			continue
		}
		bytes, err := takeContainer(ctx, store, found.Config, false)
		if errors.Is(err, container.ErrRunning) {
			continue // somebody has started it
		}
		if failed = err; err != nil {
			break
		}
		p.bytes += bytes
		ids = append(ids, found.Config.ID)
	}
	p.add("Deleted Containers:", ids)
	return failed
}
