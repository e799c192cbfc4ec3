package main

import (
	"github.com/urfave/cli/v2"
)

func cacheCommand() *cli.Command {
	return &cli.Command{
		Name:     "cache",
		Category: categoryBuild,
		Usage:    "Tell what is cached and why steps weren't; clean up",
		Subcommands: []*cli.Command{
			{
				Name:   "why",
				Usage:  "Tell why the last build executed what it did",
				Flags:  []cli.Flag{textOrJSON()},
				Action: cacheWhy,
			},
		},
	}
}

// textOrJSON is --format of commands that have no templates.
func textOrJSON() cli.Flag {
	return &cli.StringFlag{
		Name: "format", Usage: "`FORMAT`: text or json", Value: "text",
		Action: func(c *cli.Context, format string) error {
			if format != "text" && format != "json" {
				return usageError(c.Command.HelpName, "--format %q is neither text nor json", format)
			}
			return nil
		},
	}
}
