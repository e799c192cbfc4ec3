package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Category:  categoryImages,
		Usage:     "Fetch an image from a registry",
		ArgsUsage: "NAME[:TAG|@DIGEST] | TRANSPORT:PLACE",
		Description: `
From elsewhere than a registry, as from an archive of images:
oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], dir:DIR,
containers-storage:NAME (podman's and buildah's)`,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "all-tags", Aliases: []string{"a"}, Usage: "fetch all tags of the repository"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the image's name only"},
			&cli.StringFlag{Name: "platform", Usage: "choose the image for `OS/ARCH[/VARIANT]`"},
		}, registryFlags(), contentTrust()),
		Action: coded(pull),
	}
}

func pull(c *cli.Context) error {
	name, err := argument(c, "the image's name")
	if err != nil {
		return err
	}
	if from, elsewhere := transport.ParseSource(name); elsewhere {
		registry, ok := from.Registry()
		if !ok {
			return bring(c, from)
		}
		name = registry
	}
	return pullNamed(c, name)
}

func pullNamed(c *cli.Context, name string) error {
	canonical, err := layout.ParseName(name)
	if err != nil {
		return err
	}
	shown := canonical // the last line
	named, all := mustParse(name), c.Bool("all-tags")
	switch {
	case all && !reference.IsNameOnly(named):
		return errors.New("tag can't be used with --all-tags/-a")
	case all:
		shown = named.Name()
	}
	p, err := newProgress(c, "Pulling "+layout.Familiar(shown), false)
	if err != nil {
		return err
	}
	if !all && reference.IsNameOnly(named) {
		if _, err := fmt.Fprintln(p.out, "Using default tag: latest"); err != nil {
			return err
		}
	}
	return withStore(c, func(store *storage.Store) error {
		// What isn't this pull's may be pruned while it lasts.
		if err := store.BeginLeases(); err != nil {
			return err
		}
		view := newPullView(p)
		if all {
			err = pullTags(c, store, named, view)
		} else {
			err = pullTag(c, store, name, view)
		}
		if err = errors.Join(err, view.close()); err != nil {
			// What came of an image that is bad goes again.
			return errors.Join(err, store.Collector(userns.Inside()).Tidy(c.Context))
		}
		if err := view.status(reference.FamiliarString(mustParse(shown))); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.App.Writer, shown)
		return err
	})
}

func pullTag(c *cli.Context, store *storage.Store, name string, view *pullView) error {
	_, err := pullImage(c.Context, c, store, name, c.String("platform"), view.transfer)
	return err
}

// pullTags pulls all tags of a repository, as docker does one after another.
func pullTags(c *cli.Context, store *storage.Store, named reference.Named, view *pullView) error {
	o, err := transportOptions(c, store)
	if err != nil {
		return err
	}
	tags, err := transport.Tags(c.Context, reference.FamiliarName(named), o)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := pullTag(c, store, reference.FamiliarName(named)+":"+tag, view); err != nil {
			return err
		}
	}
	return nil
}
