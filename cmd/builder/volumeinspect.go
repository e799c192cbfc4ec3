package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/volume"
)

func volumeInspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "Tell all about volumes",
		ArgsUsage: "VOLUME...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print by `TEMPLATE`: '{{.Mountpoint}}', '{{json .Labels}}', json"},
		},
		Action: coded(volumeInspect),
	}
}

// volumeInspect prints all volumes that are found, and then the errors.
func volumeInspect(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs at least one volume", c.Command.HelpName)
	}
	objects, err := format.NewObjects(c.String("format"))
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		var failed []error
		for _, name := range c.Args().Slice() {
			found, err := inspectVolume(store, name)
			if err == nil {
				err = objects.Add(found)
			}
			if err != nil {
				failed = append(failed, remediedVolume(err))
			}
		}
		if err := objects.Flush(c.App.Writer); err != nil || len(failed) == 0 {
			return err
		}
		for _, err := range failed {
			report(c.Context, c.App.ErrWriter, err)
		}
		return errSome
	})
}

// volumeObject is a volume as docker's API tells it, and in docker's order.
type volumeObject struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

// inspectVolume gives what docker tells of a volume.
func inspectVolume(store *storage.Store, name string) (*volumeObject, error) {
	v, err := store.Volumes().Get(name)
	if err != nil {
		return nil, err
	}
	return &volumeObject{
		CreatedAt: v.Created.Local().Format(time.RFC3339), Driver: volume.Driver, Labels: v.Labels,
		Mountpoint: store.Volumes().Data(name), Name: name, Scope: volume.Driver,
	}, nil
}
