package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Category:  categoryMore,
		Usage:     "Show what a container has changed of its image's files",
		ArgsUsage: "CONTAINER",
		Description: `
Each line has the kind of a change and a path: A for what was added, C for what was
changed, or has a change in it, D for what was deleted.`,
		Action: coded(diffContainer),
	}
}

// diffContainer reads the changes as the user, outside of any namespace, which
// takes no time; where a file is nobody's business but its owner's, inside.
func diffContainer(c *cli.Context) error {
	ref, err := argument(c, "the container's name or id")
	if err != nil {
		return err
	}
	if userns.Inside() {
		return inside(c, ref, func(k *keptFiles) error {
			changes, err := k.changes(true)
			if err != nil {
				return err
			}
			return printChanges(c, changes)
		})
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	found, err := findFor(store, ref)
	if err == nil {
		err = printPlainly(c, store, found)
	}
	env := storeEnv(store)
	if closing := store.Close(); closing != nil || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(err, closing)
	}
	return visit{}.goInside(c, found, env)
}

func printPlainly(c *cli.Context, store *storage.Store, found container.Found) error {
	if found.State.Lives() {
		if client, err := dialMonitor(c, found.Config.ID); err == nil {
			err := errors.Join(client.Sync(), client.Close())
			if err != nil {
				return err
			}
		}
	}
	mapping, err := detect(c)
	if err != nil {
		return err
	}
	changes, err := store.KeptChanges(found.Config.ID, !mapping.Exact(), snapshot.ChangeOptions{
		Placeholders: placeholders(found.Config), Look: true,
	})
	if err != nil {
		return err
	}
	return printChanges(c, changes)
}

// printChanges prints nothing before all is known.
func printChanges(c *cli.Context, changes layer.Source) error {
	var lines []string
	err := changes.Walk(c.Context, func(e *layer.Entry) error {
		if e.Path == "" {
			return nil // docker doesn't tell of the root
		}
		kind := "A"
		switch {
		case e.Whiteout:
			kind = "D"
		case e.Below:
			kind = "C"
		}
		lines = append(lines, kind+" /"+e.Path)
		return nil
	})
	if err != nil {
		return err
	}
	w := bufio.NewWriter(c.App.Writer)
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, line) // Flush tells the error
	}
	return w.Flush()
}

// placeholders are the paths at which a container's sandbox mounts something: what
// was made for that is nobody's change.
func placeholders(config container.Config) []string {
	paths := []string{"/proc", "/dev", "/sys", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"}
	for _, m := range config.Mounts {
		paths = append(paths, m.Destination)
	}
	for _, m := range config.Spec.Mounts {
		paths = append(paths, m.Destination)
	}
	for _, d := range config.Spec.Devices {
		paths = append(paths, d.Path)
	}
	if config.Authorities != "" {
		paths = append(paths, trust.Dir)
	}
	if config.Init {
		paths = append(paths, sandbox.InitPath)
	}
	return slices.Compact(paths)
}
