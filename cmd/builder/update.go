package main

import (
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
)

// updateCommand is docker's, and refused: limits and policies are the monitor's
// from the start.
func updateCommand() *cli.Command {
	return &cli.Command{
		Name:            "update",
		Usage:           "Change a container's limits; refused",
		ArgsUsage:       "CONTAINER...",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: coded(func(*cli.Context) error {
			return fault.New("builder commit CONTAINER IMAGE    # keeps what it holds\nbuilder run --memory …, of that image, gives it other limits",
				"a container keeps the limits and the restart policy that it was made with: update is not supported")
		}),
	}
}
