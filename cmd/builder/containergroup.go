package main

import "github.com/urfave/cli/v2"

// containerCommand has the commands about containers under docker's second names,
// and those that have no other.
func containerCommand() *cli.Command {
	return &cli.Command{
		Name:     "container",
		Category: categoryMore,
		Usage:    "Commands about containers",
		Subcommands: []*cli.Command{
			commitCommand(),
			cpCommand(),
			diffCommand(),
			exportCommand(),
			logsCommand(),
			called("ls", psCommand(), "list"),
			runCommand(),
		},
	}
}
