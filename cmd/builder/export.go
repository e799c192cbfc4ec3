package main

import (
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage/layer"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Category:  categoryMore,
		Usage:     "Write a container's file system to a tarball",
		ArgsUsage: "CONTAINER",
		Description: `
Programs in it go on meanwhile. What is in volumes isn't in the tarball.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, not the standard output"},
		},
		Action: coded(exportContainer),
	}
}

// exportContainer writes the tree of a container: the layers of its image, and
// what it has changed until then.
func exportContainer(c *cli.Context) error {
	ref, err := argument(c, "the container's name or id")
	if err != nil {
		return err
	}
	if userns.Inside() {
		return inside(c, ref, func(k *keptFiles) error { return k.export(c) })
	}
	if err := checkArchiveOutput(c.String("output")); err != nil {
		return err
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	found, err := findFor(store, ref)
	env := storeEnv(store)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	return visit{}.goInside(c, found, env)
}

func (k *keptFiles) export(c *cli.Context) (err error) {
	tree, err := k.snapshots.KeptTree(k.Config.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	return writeArchive(c, c.String("output"), func(w io.Writer) error {
		_, err := layer.Pack(c.Context, layer.Whole(tree), w, layer.PackOptions{Compression: layer.None})
		return err
	})
}
