package main

import (
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/storage"
)

func tagCommand() *cli.Command {
	return &cli.Command{
		Name:      "tag",
		Category:  categoryImages,
		Usage:     "Give an image another name",
		ArgsUsage: "IMAGE NAME[:TAG]...",
		Action: coded(func(c *cli.Context) error {
			if c.NArg() < 2 {
				return usageError(c.Command.HelpName, "%s takes an image and its new name", c.Command.HelpName)
			}
			return withStore(c, func(store *storage.Store) error {
				return tagImage(c, store, c.Args().First(), c.Args().Tail())
			})
		}),
	}
}

func untagCommand() *cli.Command {
	return &cli.Command{
		Name:        "untag",
		Category:    categoryMore,
		Usage:       "Take names from an image",
		ArgsUsage:   "IMAGE [NAME...]",
		Description: "Without a name it loses all. The image itself stays.",
		Action: coded(func(c *cli.Context) error {
			if c.NArg() == 0 {
				return usageError(c.Command.HelpName, "%s takes an image, and the names to take from it", c.Command.HelpName)
			}
			return withStore(c, func(store *storage.Store) error {
				return store.Layout().Untag(c.Context, c.Args().First(), c.Args().Tail()...)
			})
		}),
	}
}
