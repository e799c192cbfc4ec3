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
			called("ls", imagesCommand()),
			importCommand(),
			loadCommand(),
			pullCommand(),
			pushCommand(),
			called("rm", rmiCommand()),
			saveCommand(),
			tagCommand(),
			untagCommand(),
		},
	}
}

// called gives a command another name; its own becomes an alias.
func called(name string, c *cli.Command) *cli.Command {
	c.Aliases = append(c.Aliases, c.Name)
	c.Name = name
	return c
}
