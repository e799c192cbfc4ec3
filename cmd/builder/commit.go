package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

func commitCommand() *cli.Command {
	return &cli.Command{
		Name:      "commit",
		Category:  categoryMore,
		Usage:     "Make an image of what a container has changed",
		ArgsUsage: "CONTAINER [NAME[:TAG]]",
		Description: `
The image is the container's own with one more layer, and starts as the container
did. Programs in it stand still meanwhile. Instructions that --change applies are
CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME
and WORKDIR.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "author", Aliases: []string{"a"}, Usage: "`WHO` made it: \"John Hannibal Smith <hannibal@a-team.com>\""},
			&cli.StringSliceFlag{
				Name: "change", Aliases: []string{"c"}, Usage: "apply a Dockerfile `INSTRUCTION` to the image",
			},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the history"},
			&cli.BoolFlag{Name: "pause", Aliases: []string{"p"}, Usage: "let the container stand still meanwhile", Value: true},
			&cli.BoolFlag{Name: "no-pause", Usage: "let it go on: what it writes meanwhile may be there, or not"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing but the image's id"},
		},
		Action: coded(commitContainer),
	}
}

// commitContainer looks at everything that can be wrong before the container is
// made to stand still.
func commitContainer(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usageError(c.Command.HelpName, "%s takes a container, and perhaps a name", c.Command.HelpName)
	}
	ref, name := c.Args().Get(0), c.Args().Get(1)
	changes, err := build.ParseChanges(c.StringSlice("change"))
	if err != nil {
		return err
	}
	if err := checkNewName(name, "commit to"); err != nil {
		return err
	}
	o := build.CommitOptions{
		Changes: changes, Author: c.String("author"), Message: c.String("message"), Name: name,
	}
	if userns.Inside() {
		return inside(c, ref, func(k *keptFiles) error { return k.commit(c, o) })
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	found, err := findFor(store, ref)
	if err == nil {
		if _, err = baseOf(store, found.Config); errors.Is(err, build.ErrNamespace) {
			err = nil // it is made inside
		}
	}
	env := storeEnv(store)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	return visit{pause: c.Bool("pause") && !c.Bool("no-pause")}.goInside(c, found, env)
}

// baseOf gives the image that a container was made from.
func baseOf(store *storage.Store, config container.Config) (layout.Image, error) {
	img, err := store.Layout().Find(config.ImageID)
	if errors.Is(err, layout.ErrUnknown) {
		err = fault.New("builder export "+config.ID[:12]+" | builder import - NAME    # makes an image of all its files",
			"the image %s (%s), which the container was made from, has been removed", config.Image, digest.Digest(config.ImageID).Encoded()[:12])
	}
	return img, err
}

func (k *keptFiles) commit(c *cli.Context, o build.CommitOptions) (err error) {
	if err := json.Unmarshal(k.Config.Settings, &o.Settings); err != nil {
		return fmt.Errorf("the settings of container %s: %w", k.Config.ID, err)
	}
	if o.Changed, err = k.changes(false); err != nil {
		return err
	}
	var id digest.Digest
	// Nothing of the base is removed meanwhile.
	err = k.store.WithBlobs(c.Context, func() error {
		if o.Base, err = baseOf(k.store, k.Config); err != nil {
			return err
		}
		id, err = build.Commit(c.Context, k.store, o)
		return storage.Explain(k.store.Root(), err)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, id)
	return err
}
