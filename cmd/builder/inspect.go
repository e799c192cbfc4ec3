package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// inspectCommand is for whatever has the name. That is an image, for now.
func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Category:  categoryMore,
		Usage:     "Tell all about images",
		ArgsUsage: "IMAGE...",
		Flags: []cli.Flag{
			inspectFormat(),
			&cli.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "also the sizes of containers"},
			&cli.StringFlag{Name: "type", Usage: "inspect things of `TYPE` only: image", Action: checkType},
		},
		Action: coded(func(c *cli.Context) error {
			return inspectImages(c, func(err error) error {
				if errors.Is(err, layout.ErrUnknown) && c.String("type") == "" {
					return fault.New(fault.Remedy(err), "no such object: %s", strings.TrimPrefix(err.Error(), layout.ErrUnknown.Error()+": "))
				}
				return err
			})
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
		Action: coded(func(c *cli.Context) error { return inspectImages(c, func(err error) error { return err }) }),
	}
}

func inspectFormat() cli.Flag {
	return &cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print by `TEMPLATE`: '{{.Config.Env}}', '{{json .Config}}', json"}
}

// checkType refuses what isn't there, and what isn't there yet.
func checkType(c *cli.Context, kind string) error {
	types := []string{"config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"}
	switch {
	case kind == "image":
		return nil
	case slices.Contains(types, kind):
		return notYet("--type " + kind)
	}
	return usageError(c.Command.HelpName, "unknown type: %q: must be one of %q", kind, types)
}

// inspectImages prints all images that are found, and then the errors, in words.
func inspectImages(c *cli.Context, words func(error) error) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs at least one name", c.Command.HelpName)
	}
	objects, err := format.NewObjects(c.String("format"))
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		var failed []error
		for _, ref := range c.Args().Slice() {
			found, err := inspectImage(c, store, ref)
			if errors.Is(err, build.ErrNamespace) {
				return err
			}
			if err == nil {
				err = objects.Add(found)
			}
			if err != nil {
				failed = append(failed, words(err))
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
}

// inspectImage gives what docker tells of an image.
func inspectImage(c *cli.Context, store *storage.Store, ref string) (*imageObject, error) {
	img, err := imageFor(c, store, ref)
	if err != nil {
		return nil, err
	}
	if c.Bool("size") {
		_, _ = fmt.Fprintln(c.App.ErrWriter, "WARNING: --size ignored for image")
	}
	return newImageObject(store, img, c.String(flagDriver))
}
