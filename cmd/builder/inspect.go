package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/volume"
)

// inspectCommand is for whatever has the name.
func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Category:  categoryMore,
		Usage:     "Tell all about containers, images and volumes",
		ArgsUsage: "CONTAINER|IMAGE|VOLUME...",
		Flags: []cli.Flag{
			inspectFormat(),
			inspectSize(),
			&cli.StringFlag{Name: "type", Usage: "inspect things of `TYPE` only: container, image or volume", Action: checkType},
		},
		Action: coded(func(c *cli.Context) error {
			switch c.String("type") {
			case "container":
				return inspectThings(c, inspectContainer)
			case "image":
				return inspectThings(c, inspectImage)
			case "volume":
				return inspectThings(c, inspectVolume)
			}
			return inspectThings(c, inspectAnything)
		}),
	}
}

func inspectImageCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "Tell all about images",
		ArgsUsage: "IMAGE...",
		Flags: []cli.Flag{
			inspectFormat(),
			&cli.StringFlag{Name: "platform", Usage: "the image for `OS/ARCH[/VARIANT]` of several"},
		},
		Action: coded(func(c *cli.Context) error { return inspectThings(c, inspectImage) }),
	}
}

func inspectContainerCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "Tell all about containers",
		ArgsUsage: "CONTAINER...",
		Flags:     []cli.Flag{inspectFormat(), inspectSize()},
		Action:    coded(func(c *cli.Context) error { return inspectThings(c, inspectContainer) }),
	}
}

func inspectFormat() cli.Flag {
	return &cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print by `TEMPLATE`: '{{.Config.Env}}', '{{json .Config}}', json"}
}

func inspectSize() cli.Flag {
	return &cli.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "also the sizes of containers"}
}

// checkType refuses what isn't there, and what isn't there yet.
func checkType(c *cli.Context, kind string) error {
	types := []string{"config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"}
	switch {
	case kind == "container" || kind == "image" || kind == "volume":
		return nil
	case slices.Contains(types, kind):
		return fault.NotYet("--type " + kind)
	}
	return usageError(c.Command.HelpName, "unknown type: %q: must be one of %q", kind, types)
}

// inspectThings prints all that are found, and then the errors.
func inspectThings(c *cli.Context, find func(c *cli.Context, store *storage.Store, ref string) (any, error)) error {
	if err := needSome(c, "name"); err != nil {
		return err
	}
	objects, err := format.NewObjects(c.String("format"))
	if err != nil {
		return err
	}
	err = withStore(c, func(store *storage.Store) error {
		var failed []error
		for _, ref := range c.Args().Slice() {
			found, err := find(c, store, ref)
			if errors.Is(err, build.ErrNamespace) || errors.Is(err, errInside) {
				return err
			}
			if err == nil {
				err = objects.Add(found)
			}
			if err != nil {
				failed = append(failed, err)
			}
		}
		if err := objects.Flush(c.App.Writer); err != nil || len(failed) == 0 {
			return err
		}
		for _, err := range failed {
			report(c.Context, c.App.ErrWriter, err)
		}
		return errSome
	})
	if errors.Is(err, errInside) {
		return enterWithout(c)
	}
	return err
}

// inspectAnything looks for a container first, then for an image, and for a volume
// last.
func inspectAnything(c *cli.Context, store *storage.Store, ref string) (any, error) {
	found, err := inspectContainer(c, store, ref)
	if !errors.Is(err, container.ErrUnknown) {
		return found, err
	}
	found, unknown := inspectImage(c, store, ref)
	if !errors.Is(unknown, layout.ErrUnknown) {
		return found, unknown
	}
	found, err = inspectVolume(c, store, ref)
	if !errors.Is(err, volume.ErrUnknown) {
		return found, err
	}
	return nil, fault.New(fault.Remedy(unknown), "no such object: %s", strings.TrimPrefix(unknown.Error(), layout.ErrUnknown.Error()+": "))
}

// inspectImage gives what docker tells of an image.
func inspectImage(c *cli.Context, store *storage.Store, ref string) (any, error) {
	img, err := imageFor(c, store, ref)
	if err != nil {
		return nil, err
	}
	if c.Bool("size") {
		_, _ = fmt.Fprintln(c.App.ErrWriter, "WARNING: --size ignored for image")
	}
	return newImageObject(store, img, c.String(flagDriver))
}

// inspectContainer gives what docker tells of a container.
func inspectContainer(c *cli.Context, store *storage.Store, ref string) (any, error) {
	found, err := findFor(store, ref)
	if err != nil {
		return nil, err
	}
	o, err := newContainerObject(c, store, found)
	if err != nil || !c.Bool("size") {
		return o, err
	}
	sizes, inside, err := writtenBy(c, store, []container.Found{found})
	if inside {
		return nil, errInside
	}
	if err != nil {
		return nil, err
	}
	whole := sizes[0]
	if img, err := store.Layout().Find(digest.Digest(found.Config.ImageID).String()); err == nil {
		whole += img.Size
	}
	o.SizeRw, o.SizeRootFs = &sizes[0], &whole
	return o, nil
}
