package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
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
The container is one that runs. What its programs write meanwhile may be missing.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, not the standard output"},
		},
		Action: coded(exportContainer),
	}
}

// exportContainer writes the tree of a container that runs: the layers of its
// image, and what it has changed until then. Programs in it go on meanwhile.
func exportContainer(c *cli.Context) error {
	ref, err := argument(c, "the container's name or id")
	if err != nil {
		return err
	}
	if err := checkArchiveOutput(c.String("output")); err != nil {
		return err
	}
	if userns.Inside() {
		return exportTree(c, ref)
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	_, err = findContainer(containersDir(store), ref)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	noticeMapping(c)
	return enter(c, nil, storeEnv(store)...)
}

func findContainer(dir, ref string) (container.Config, error) {
	config, state, err := container.Find(dir, ref)
	if errors.Is(err, container.ErrUnknown) {
		return config, fault.New("name one that runs: builder run --rm --name NAME …", "%w", err)
	}
	if err == nil && state.Status == container.StatusExited {
		err = fmt.Errorf("container %s has ended, and left no files", ref)
	}
	return config, err
}

// exportTree does it inside the user namespace.
func exportTree(c *cli.Context, ref string) (err error) {
	h, err := openTrees(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	config, err := findContainer(containersDir(h.store), ref)
	if err != nil {
		return err
	}
	tree, err := h.snapshots.Live(config.Layer)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New("give --storage-driver as it was given to builder run", "the files of container %s aren't there by this storage driver: %w", ref, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	return writeArchive(c, c.String("output"), func(w io.Writer) error {
		_, err := layer.Pack(c.Context, layer.Whole(tree), w, layer.PackOptions{Compression: layer.None})
		return err
	})
}
