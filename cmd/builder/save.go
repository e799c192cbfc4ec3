package main

import (
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func saveCommand() *cli.Command {
	return &cli.Command{
		Name:      "save",
		Category:  categoryImages,
		Usage:     "Write images to an archive",
		ArgsUsage: "IMAGE...",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, not the standard output"},
			&cli.StringFlag{
				Name: "format", Usage: "`FORMAT` of the archive: docker-archive or oci-archive",
				Value: transport.DockerArchive,
			},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show nothing of its progress"},
		}, laterBools("compress"), granted("multi-image-archive", "m"), later("platform")),
		Action:       save,
		BashComplete: completeImages,
	}
}

func save(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs at least one image", c.Command.HelpName)
	}
	path := c.String("output")
	if err := checkArchiveOutput(path); err != nil {
		return likeDocker(err)
	}
	return likeDocker(withStore(c, func(store *storage.Store) error {
		var images []layout.Image
		for _, ref := range c.Args().Slice() {
			img, err := store.Layout().Find(ref)
			if err != nil {
				return err
			}
			images = append(images, img)
		}
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		w := startWatch(c, "Saving "+count(len(images), "image"), c.Bool("quiet"))
		defer w.end()
		o.Report = w.report
		return writeArchive(c, path, func(out io.Writer) error {
			return transport.Save(c.Context, images, out, c.String("format"), o)
		})
	}))
}
