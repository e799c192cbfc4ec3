package main

import (
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
)

func unshareCommand() *cli.Command {
	return &cli.Command{
		Name:      "unshare",
		Category:  categoryMore,
		Usage:     "Run a command as root of builder's user namespace",
		ArgsUsage: "[COMMAND [ARGUMENT...]]",
		Description: `
The command, or else your shell, sees the files of images with the owners that
they have there, and may mount. Outside it has no more rights than you.`,
		Action: unshare,
	}
}

func unshare(c *cli.Context) error {
	root, err := storeRoot(c)
	if err != nil {
		return err
	}
	if userns.Inside() { // not before: that there is no namespace is an error of its own
		mapping, err := userns.Current()
		if err != nil {
			return err
		}
		noticeStepDowns(c, mapping, false)
	}
	// A builder that the command starts has another home there.
	code, err := userns.Unshare(c.Context, c.Args().Slice(), storage.RootEnv+"="+root)
	if err == nil && code != 0 {
		return exitStatus(code)
	}
	return err
}
