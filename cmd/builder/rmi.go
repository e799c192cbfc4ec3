package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/layout"
)

func rmiCommand() *cli.Command {
	return &cli.Command{
		Name:      "rmi",
		Category:  categoryImages,
		Usage:     "Remove images",
		ArgsUsage: "IMAGE...",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "take all names of an image, and it from stopped containers"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "remove all images"},
			&cli.BoolFlag{Name: "prune", Aliases: []string{"p"}, Usage: "remove all images without a name"},
			// What an image was built from is kept by the build cache alone.
			&cli.BoolFlag{Name: "no-prune", Hidden: true, Category: flagdoc.Ignored},
		}, later("platform")),
		Action: coded(rmi),
	}
}

// errSome says that some of several things couldn't be done, as each error has
// told already.
var errSome = exitStatus(1)

// rmi removes images, and then what nothing else needs.
func rmi(c *cli.Context) error {
	if err := checkRmi(c); err != nil {
		return err
	}
	var failed error
	var freed gc.Freed
	var env []string
	err := withStore(c, func(store *storage.Store) error {
		free, err := removeImages(c, store)
		if failed = err; err != nil && !errors.Is(err, errSome) {
			return err
		}
		if len(free.Blobs) == 0 && len(free.Layers) == 0 {
			return nil
		}
		env = storeEnv(store)
		freed, err = store.Collector(userns.Inside()).FreeUnreferenced(c.Context, free)
		return err
	})
	if err == nil && freed.Trees && !userns.Inside() {
		err = enter(c, []string{programName, "system", tidyName}, env...)
	}
	return errors.Join(err, failed)
}

func checkRmi(c *cli.Context) error {
	name, all, dangling := c.Command.HelpName, c.Bool("all"), c.Bool("prune")
	switch {
	case all && dangling:
		return usageError(name, "--all and --prune can't both be")
	case (all || dangling) && c.NArg() > 0:
		return usageError(name, "--all and --prune take no images")
	case !all && !dangling && c.NArg() == 0:
		return usageError(name, "%s needs at least one image", name)
	}
	return nil
}

// removeImages goes on after an error, as docker does. It gives what may be free
// now.
func removeImages(c *cli.Context, store *storage.Store) (free layout.Free, failed error) {
	refs, force, err := imagesToRemove(c, store)
	if err != nil {
		return free, err
	}
	users := imageUsers(store)
	for _, ref := range refs {
		removed, err := store.Layout().Remove(c.Context, ref, layout.RemoveOptions{Force: force, OnlyDangling: c.Bool("prune"), Users: users})
		if c.Err() != nil {
			return free, err
		}
		if err != nil {
			err = asGone(c, store, ref, err)
			if !c.Bool("force") || !errors.Is(err, layout.ErrUnknown) {
				failed = errSome
			}
			report(c.Context, c.App.ErrWriter, err)
		}
		free.Blobs = append(free.Blobs, removed.Blobs...)
		free.Layers = append(free.Layers, removed.Layers...)
		for _, line := range removalLines(removed) {
			if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
				return free, err
			}
		}
	}
	return free, failed
}

// asGone has a step of an image that has been removed count as gone with it, as
// docker's intermediate images do: so that rmi -f $(builder images -aq) succeeds.
func asGone(c *cli.Context, store *storage.Store, ref string, err error) error {
	if !errors.Is(err, layout.ErrStep) {
		return err
	}
	list, unread := store.Layout().List()
	between, unseen := intermediates(c, store, list)
	of := strings.TrimPrefix(ref, "sha256:")
	if unread != nil || unseen != nil || slices.ContainsFunc(between, func(i layout.Image) bool { return strings.HasPrefix(i.ID.Encoded(), of) }) {
		return err
	}
	return &fault.Error{
		Err:    fmt.Errorf("%w: %s", layout.ErrUnknown, ref),
		Remedy: "what is cached of its build goes by: builder cache prune", Code: 1,
	}
}

// imagesToRemove gives the images that are meant. Those of --all go with all
// their names.
func imagesToRemove(c *cli.Context, store *storage.Store) (refs []string, force bool, err error) {
	force = c.Bool("force")
	if c.NArg() > 0 {
		return c.Args().Slice(), force, nil
	}
	images, err := store.Layout().List()
	if err != nil {
		return nil, false, err
	}
	if c.Bool("prune") {
		refs, err := danglingIDs(store, images)
		return refs, force, err
	}
	for _, image := range layout.Summarize(images) {
		refs = append(refs, image.ID.String())
	}
	return refs, force, nil
}

// removalLines are docker's about one image.
func removalLines(r layout.Removed) []string {
	var lines []string
	for _, name := range r.Untagged {
		lines = append(lines, "Untagged: "+name)
	}
	if r.ID != "" {
		lines = append(lines, "Deleted: "+r.ID.String())
	}
	for _, layer := range r.Layers {
		lines = append(lines, "Deleted: "+layer.ChainID.String())
	}
	return lines
}

// imageUsers tells which containers use an image. What can't be read of one that
// comes or goes at the moment counts as gone.
func imageUsers(store *storage.Store) func(digest.Digest) []layout.User {
	return func(id digest.Digest) []layout.User {
		var users []layout.User
		for _, found := range container.List(containersDir(store)) {
			if found.Config.ImageID == id.String() {
				users = append(users, layout.User{ID: found.Config.ID, Running: found.State.Lives()})
			}
		}
		return users
	}
}
