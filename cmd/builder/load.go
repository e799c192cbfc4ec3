package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:     "load",
		Category: categoryMore,
		Usage:    "Take up the images of an archive",
		Description: `
The archive is one that docker, podman, skopeo, buildah, BuildKit or builder has
made, of whatever age, and may be compressed by gzip, bzip2, xz or zstd.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read from `FILE`, not the standard input"},
			&cli.StringFlag{Name: "platform", Usage: "take the images for `OS/ARCH[/VARIANT]` alone"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing but the images"},
			policyFlag(),
		},
		Action: coded(load),
	}
}

func load(c *cli.Context) error {
	if c.NArg() > 0 {
		return usageError(c.Command.HelpName, "%s takes no arguments; the archive is named by -i", c.Command.HelpName)
	}
	in, err := openInput(c.Context, c.String("input"))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return withArchive(c, func(store *storage.Store) error {
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		// What isn't this load's may be pruned while it lasts.
		if err := store.BeginLeases(); err != nil {
			return err
		}
		o.Platform = c.String("platform")
		w := startWatch(c, "Loading images", c.Bool("quiet"))
		defer w.end()
		o.Report = w.report
		images, err := transport.Load(c.Context, in, o)
		w.end()
		for _, img := range images {
			if err := printLoaded(c, img); err != nil {
				return err
			}
		}
		return fault.At(in.place, err)
	})
}

// printLoaded prints docker's words.
func printLoaded(c *cli.Context, img transport.Loaded) error {
	name := layout.Familiar(img.Name)
	if name == "" {
		_, err := fmt.Fprintf(c.App.Writer, "Loaded image ID: %s\n", img.ID)
		return err
	}
	if img.Before != "" {
		if _, err := fmt.Fprintf(c.App.Writer, "The image %s already exists, renaming the old one with ID %s to empty string\n", name, img.Before); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.App.Writer, "Loaded image: %s\n", name)
	return err
}
