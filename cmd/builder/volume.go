package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/cmd/builder/mountspec"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/volume"
)

// volumeCommand has docker's commands about volumes.
func volumeCommand() *cli.Command {
	return &cli.Command{
		Name:     "volume",
		Category: categoryMore,
		Usage:    "Commands about volumes",
		Subcommands: []*cli.Command{
			volumeCreateCommand(),
			volumeInspectCommand(),
			volumeListCommand(),
			volumePruneCommand(),
			volumeRemoveCommand(),
		},
	}
}

func volumeCreateCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "Make a volume",
		ArgsUsage: "[NAME]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "driver", Aliases: []string{"d"}, Value: volume.Driver, Usage: "keep it by `DRIVER`: local"},
			&cli.StringSliceFlag{Name: "label", Usage: "note `KEY[=VALUE]` with it"},
			&cli.StringFlag{Name: "name", Hidden: true, Usage: "call it `NAME`"},
			&cli.StringSliceFlag{
				Name: "opt", Aliases: []string{"o"}, Hidden: true, Category: flagdoc.Refused,
				Action: func(*cli.Context, []string) error { return mountspec.NoDriverOptions("--opt") },
			},
		},
		Action: coded(volumeCreate),
	}
}

func volumeCreate(c *cli.Context) error {
	name := c.String("name")
	switch {
	case c.NArg() > 1:
		return usageError(c.Command.HelpName, "%s takes at most one name", c.Command.HelpName)
	case c.NArg() == 1 && name != "":
		return fault.New("leave --name out", "conflicting options: cannot specify a volume-name through both --name and as a positional arg")
	case c.NArg() == 1:
		name = c.Args().First()
	}
	if driver := c.String("driver"); driver != volume.Driver && driver != "" {
		return mountspec.NoDriver(driver)
	}
	labels, err := volumeLabels(c.StringSlice("label"))
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		v, err := store.Volumes().Create(c.Context, name, labels)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.App.Writer, v.Name)
		return err
	})
}

func volumeLabels(texts []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		if key == "" {
			return nil, fault.New("write --label KEY=VALUE", "invalid label '%s': empty name", text)
		}
		labels[key] = value
	}
	return labels, nil
}

func volumeRemoveCommand() *cli.Command {
	return called("rm", &cli.Command{
		Name:      "remove",
		Usage:     "Remove volumes that no container has",
		ArgsUsage: "VOLUME...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't mind what isn't there"},
		},
		Action: coded(volumeRemove),
	})
}

// volumeRemove goes on after an error, as docker does.
func volumeRemove(c *cli.Context) error {
	if err := needSome(c, "volume"); err != nil {
		return err
	}
	if !userns.Inside() {
		return enterWithout(c)
	}
	return withStore(c, func(store *storage.Store) error {
		users := volumeUsers(containersDir(store), "")
		var failed error
		for _, name := range c.Args().Slice() {
			err := store.Volumes().Remove(c.Context, name, users)
			if errors.Is(err, volume.ErrUnknown) && c.Bool("force") {
				err = nil
			}
			if err != nil {
				report(c.Context, c.App.ErrWriter, remediedVolume(err))
				failed = errSome
				continue
			}
			if _, err := fmt.Fprintln(c.App.Writer, name); err != nil {
				return err
			}
		}
		return failed
	})
}

// remediedVolume tells what can be done about a volume that isn't there or is in use.
func remediedVolume(err error) error {
	switch {
	case errors.Is(err, volume.ErrInUse):
		return remedied(err, "builder rm CONTAINER    # removes what has it")
	case errors.Is(err, volume.ErrUnknown):
		return remedied(err, "builder volume ls    # lists them")
	}
	return err
}
