package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// splitName parts a familiar name into repository and tag, with docker's word
// for what is missing.
func splitName(name string) (repository, tag string) {
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
		Action: rmi,
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
