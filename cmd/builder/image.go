package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

func imagesCommand() *cli.Command {
	return &cli.Command{
		Name:      "images",
		Category:  categoryImages,
		Usage:     "List images",
		ArgsUsage: "[REPOSITORY[:TAG]]",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "print whole ids"},
		}, laterBools("all", "a", "digests", "tree"), later("filter", "f", "format")),
		Action:       images,
		BashComplete: completeImages,
	}
}

func images(c *cli.Context) error {
	if c.NArg() > 1 {
		return usageError(c.Command.HelpName, "%s takes at most one repository", c.Command.HelpName)
	}
	return withStore(c, func(store *storage.Store) error {
		list, err := store.Layout().List()
		if err != nil {
			return err
		}
		if name := c.Args().First(); name != "" {
			list = slices.DeleteFunc(list, func(i layout.Image) bool { return !named(i, name) })
		}
		slices.SortStableFunc(list, func(a, b layout.Image) int { return b.Created.Compare(a.Created) })
		id := format.ShortID
		if c.Bool("no-trunc") {
			id = digest.Digest.String
		}
		rows := imageRows(list, id, time.Now())
		if c.Bool("quiet") {
			for _, row := range rows[1:] {
				if _, err := fmt.Fprintln(c.App.Writer, row[2]); err != nil {
					return err
				}
			}
			return nil
		}
		return format.Rows(c.App.Writer, rows)
	})
}

// named tells whether an image is of the repository, or has the very name.
func named(i layout.Image, name string) bool {
	repository, tag := splitName(layout.Familiar(i.Name))
	return i.Name != "" && (name == repository || name == repository+":"+tag)
}

// imageRows is docker's table, the headings first.
func imageRows(list []layout.Image, id func(digest.Digest) string, now time.Time) [][]string {
	rows := [][]string{{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"}}
	for _, i := range list {
		repository, tag := splitName(layout.Familiar(i.Name))
		rows = append(rows, []string{repository, tag, id(i.ID), format.Ago(i.Created, now), format.Size(i.Size)})
	}
	return rows
}

// splitName parts a familiar name into repository and tag, with docker's word
// for what is missing.
func splitName(name string) (repository, tag string) {
	const none = "<none>"
	if name == "" {
		return none, none
	}
	if repository, _, digested := strings.Cut(name, "@"); digested {
		return repository, none
	}
	colon := strings.LastIndexByte(name, ':')
	if colon < strings.LastIndexByte(name, '/') || colon < 0 {
		return name, none
	}
	return name[:colon], name[colon+1:]
}

func rmiCommand() *cli.Command {
	return &cli.Command{
		Name:      "rmi",
		Category:  categoryImages,
		Usage:     "Remove images",
		ArgsUsage: "IMAGE...",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "take all names of an image"},
		}, laterBools("no-prune", "all", "a", "prune", "p")),
		Action:       rmi,
		BashComplete: completeImages,
	}
}

// errSome says that some of several things couldn't be done, as each error has
// told already.
var errSome = exitStatus(1)

// rmi removes images, and then what nothing else needs.
func rmi(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs at least one image", c.Command.HelpName)
	}
	var failed error
	trees := false
	var env []string
	err := withStore(c, func(store *storage.Store) error {
		freed, err := removeImages(c, store)
		if failed = err; err != nil && !errors.Is(err, errSome) {
			return err
		}
		if len(freed) == 0 {
			return nil
		}
		if _, _, err := store.Collector(userns.Inside()).FreeUnreferenced(c.Context, freed); err != nil {
			return err
		}
		env = storeEnv(store)
		trees, err = hasTrees(store)
		return err
	})
	if err == nil && trees && !userns.Inside() {
		err = enter(c, []string{programName, "system", tidyName}, env...)
	}
	return errors.Join(err, failed)
}

// removeImages goes on after an error, as docker does. It gives the blobs that
// may be free now.
func removeImages(c *cli.Context, store *storage.Store) (freed []digest.Digest, failed error) {
	for _, ref := range c.Args().Slice() {
		removed, blobs, err := store.Layout().Remove(c.Context, ref, c.Bool("force"))
		if c.Err() != nil {
			return freed, err
		}
		if err != nil {
			failed = errSome
			report(c.Context, c.App.ErrWriter, err)
		}
		freed = append(freed, blobs...)
		for _, r := range removed {
			if err := printRemoval(c, r); err != nil {
				return freed, err
			}
		}
	}
	return freed, failed
}

// hasTrees tells whether the store has any trees, which can be removed only
// inside the user namespace.
func hasTrees(store *storage.Store) (bool, error) {
	roots, err := snapshot.Roots(store.Dir("snapshots"))
	return len(roots) > 0, err
}

func printRemoval(c *cli.Context, r layout.Removal) error {
	line := "Untagged: " + r.Untagged
	if r.Deleted != "" {
		line = "Deleted: " + r.Deleted.String()
	}
	_, err := fmt.Fprintln(c.App.Writer, line)
	return err
}
