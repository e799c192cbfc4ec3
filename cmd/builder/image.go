package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/storage"
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

func tagCommand() *cli.Command {
	return &cli.Command{
		Name:      "tag",
		Category:  categoryImages,
		Usage:     "Give an image another name",
		ArgsUsage: "IMAGE NAME[:TAG]",
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usageError(c.Command.HelpName, "%s takes an image and its new name", c.Command.HelpName)
			}
			return withStore(c, func(store *storage.Store) error {
				return store.Layout().Tag(c.Context, c.Args().Get(0), c.Args().Get(1))
			})
		},
		BashComplete: completeImages,
	}
}
