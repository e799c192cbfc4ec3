package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func createCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Category:  categoryMore,
		Usage:     "Make a container, and print its id; start starts it",
		ArgsUsage: "IMAGE [COMMAND [ARGUMENT...]]",
		Flags:     createFlags(),
		HideHelp:  true,
		Action:    coded(createContainer),
	}
}

// createContainer makes a container whose program isn't started.
func createContainer(c *cli.Context) error {
	r, err := readRequest(c)
	if err != nil {
		return err
	}
	env, err := bringImage(c, &r)
	if err != nil {
		return err
	}
	client, err := startMonitor(c, env, place{keepID: r.KeepID || r.SharedKeepID})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	nobody := &attached{}
	id, err := nobody.beginUnlessStopped(c.Context, client, monitorRequest{New: &r})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, id)
	return err
}
