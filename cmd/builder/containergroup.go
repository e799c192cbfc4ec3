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
			attachCommand(),
			commitCommand(),
			cpCommand(),
			createCommand(),
			diffCommand(),
			execCommand(),
			exportCommand(),
			inspectContainerCommand(),
			killCommand(),
			logsCommand(),
			called("ls", psCommand(), "list"),
			pauseCommand(),
			portCommand(),
			containerPruneCommand(),
			renameCommand(),
			restartCommand(),
			called("rm", rmCommand(), "remove"),
			runCommand(),
			startCommand(),
			stopCommand(),
			topCommand(),
			unpauseCommand(),
			updateCommand(),
			waitCommand(),
		},
	}
}
