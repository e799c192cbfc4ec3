package main

import (
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
)

func renameCommand() *cli.Command {
	return &cli.Command{
		Name:      "rename",
		Category:  categoryMore,
		Usage:     "Give a container another name",
		ArgsUsage: "CONTAINER NAME",
		Action:    coded(renameContainer),
	}
}

func renameContainer(c *cli.Context) error {
	if c.NArg() != 2 {
		return usageError(c.Command.HelpName, "%s takes exactly two arguments: a container and a name", c.Command.HelpName)
	}
	name := c.Args().Get(1)
	if name == "" {
		return fault.New("give one", "new name cannot be empty")
	}
	if err := checkContainerName(name); err != nil {
		return err
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	return container.Rename(n.dir, c.Args().First(), name)
}
