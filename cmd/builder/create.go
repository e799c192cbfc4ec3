package main

import (
	"errors"
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
func createContainer(c *cli.Context) (err error) {
	r, err := readRequest(c)
	if err != nil {
		return err
	}
	ids, err := newIDFile(r.CIDFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	env, err := bringImage(c, &r)
	if err != nil {
		return err
	}
	client, err := startMonitor(c, env, place{label: r.Name, keepID: r.KeepID || r.SharedKeepID})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	nobody := &attached{}
	id, err := nobody.beginUnlessStopped(c.Context, client, monitorRequest{New: &r})
	if err := errors.Join(err, ids.write(id)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, id)
	return err
}
