package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// writtenBy gives the bytes of the files that each container has made or changed.
// Where that takes the user namespace, and this isn't it, inside is true. A
// container whose files aren't there has none.
func writtenBy(c *cli.Context, store *storage.Store, found []container.Found) (sizes []int64, inside bool, err error) {
	changes := plainChanges(c, store)
	if userns.Inside() {
		h, opening := openTrees(c)
		if opening != nil {
			return nil, false, opening
		}
		defer func() { err = errors.Join(err, h.Close()) }()
		changes = h.keptChanges(c)
	}
	for _, f := range found {
		bytes, err := bytesOf(c.Context, changes, f.Config)
		if !userns.Inside() && (errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported)) {
			return nil, true, nil
		}
		if err := c.Err(); err != nil {
			return nil, false, err
		}
		if err != nil && userns.Inside() {
			bytes, _ = store.Collector(true).KeptBytes(f.Config.ID) // with the directories; 0 where there are none
		}
		sizes = append(sizes, bytes)
	}
	return sizes, false, nil
}

// keptChanges reads what is changed, whatever driver each container has.
func (h *host) keptChanges(c *cli.Context) func(string, snapshot.ChangeOptions) (layer.Source, error) {
	treesBy := h.treesBy(c)
	return func(owner string, o snapshot.ChangeOptions) (layer.Source, error) {
		driver, err := h.store.KeptDriver(owner)
		if err != nil {
			return nil, err
		}
		trees, err := treesBy(driver)
		if err != nil {
			return nil, err
		}
		return trees.KeptChanges(owner, o)
	}
}

// plainChanges reads what is changed outside of the user namespace.
func plainChanges(c *cli.Context, store *storage.Store) func(string, snapshot.ChangeOptions) (layer.Source, error) {
	mapping, err := detect(c)
	return func(owner string, o snapshot.ChangeOptions) (layer.Source, error) {
		if err != nil {
			return nil, err
		}
		return store.KeptChanges(owner, !mapping.Exact(), o)
	}
}

func bytesOf(ctx context.Context, changes func(string, snapshot.ChangeOptions) (layer.Source, error), config container.Config) (bytes int64, err error) {
	source, err := changes(config.ID, snapshot.ChangeOptions{Placeholders: placeholders(config), Look: true})
	if err != nil {
		return 0, err
	}
	err = source.Walk(ctx, func(e *layer.Entry) error {
		if e.Type == layer.TypeReg {
			bytes += e.Size
		}
		return nil
	})
	return bytes, err
}
