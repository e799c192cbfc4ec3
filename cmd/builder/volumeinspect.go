package main

import (
	"time"

	"github.com/urfave/cli/v2"

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
		Action: coded(func(c *cli.Context) error { return inspectThings(c, inspectVolume) }),
	}
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
func inspectVolume(_ *cli.Context, store *storage.Store, name string) (any, error) {
	v, err := store.Volumes().Get(name)
	if err != nil {
		return nil, remediedVolume(err)
	}
	return &volumeObject{
		CreatedAt: v.Created.Local().Format(time.RFC3339), Driver: volume.Driver, Labels: v.Labels,
		Mountpoint: store.Volumes().Data(name), Name: name, Scope: volume.Driver,
	}, nil
}
