package main

import "github.com/urfave/cli/v2"

// imageCommand has the commands about images under docker's second names, and
// those that have no other.
func imageCommand() *cli.Command {
	return &cli.Command{
		Name:     "image",
		Category: categoryMore,
		Usage:    "Commands about images",
		Subcommands: []*cli.Command{
			historyCommand(),
			called("ls", imagesCommand(), "list"),
			importCommand(),
			inspectImageCommand(),
			loadCommand(),
			imagePruneCommand(),
			pullCommand(),
			pushCommand(),
			called("rm", rmiCommand(), "remove"),
			saveCommand(),
			tagCommand(),
			untagCommand(),
		},
	}
}

// called gives a command another name, and aliases; its own becomes one of them.
func called(name string, c *cli.Command, aliases ...string) *cli.Command {
	c.Aliases = append(c.Aliases, aliases...)
	if c.Name != name {
		c.Aliases = append(c.Aliases, c.Name)
	}
	c.Name = name
	return c
}
