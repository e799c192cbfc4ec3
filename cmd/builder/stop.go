package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/container"
)

func stopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Category:  categoryBuild,
		Usage:     "Stop containers",
		ArgsUsage: "CONTAINER...",
		Flags:     stopFlags(),
		Action:    onEach(stopContainer),
	}
}

// stopFlags say how a program is asked to end.
func stopFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "send `SIGNAL` in place of the container's own"},
		&cli.IntFlag{Name: "timeout", Aliases: []string{"t", "time"}, Usage: "kill after `SECONDS`, -1 for never"},
	}
}

// stopContainer has a container end. It is no error that it has already.
func stopContainer(n named, ref string) error {
	signal, timeout, err := readStopFlags(n.Context)
	if err != nil {
		return err
	}
	client, _, err := n.dial(ref)
	if errors.Is(err, container.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	if err := client.Stop(signal, timeout); !errors.Is(err, container.ErrEnded) {
		return err
	}
	return nil
}

func readStopFlags(c *cli.Context) (signal string, timeout *int, err error) {
	if signal = c.String("signal"); signal != "" {
		if _, err := container.ParseSignal(signal); err != nil {
			return "", nil, err
		}
	}
	if c.IsSet("timeout") {
		seconds := c.Int("timeout")
		timeout = &seconds
	}
	return signal, timeout, nil
}

func killCommand() *cli.Command {
	return &cli.Command{
		Name:      "kill",
		Category:  categoryMore,
		Usage:     "Kill containers, or send them a signal",
		ArgsUsage: "CONTAINER...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Value: "KILL", Usage: "send `SIGNAL`, such as HUP"},
		},
		Action: onEach(killContainer),
	}
}

func killContainer(n named, ref string) error {
	signal, err := container.ParseSignal(n.String("signal"))
	if err != nil {
		return err
	}
	err = n.ask(ref, func(client *container.Client) error { return client.Signal(signal) })
	if err != nil {
		return fmt.Errorf("cannot kill container: %s: %w", ref, err)
	}
	return nil
}

func waitCommand() *cli.Command {
	return &cli.Command{
		Name:      "wait",
		Category:  categoryMore,
		Usage:     "Wait until containers have ended, and print their exit codes",
		ArgsUsage: "CONTAINER...",
		Action:    coded(waitForContainers),
	}
}

func waitForContainers(c *cli.Context) error {
	if err := needSome(c, "container"); err != nil {
		return err
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	return n.each(func(ref string) (string, error) {
		code, err := n.wait(ref)
		return fmt.Sprint(code), err
	})
}

// wait waits for a container's end. What hasn't run, or runs no more, has ended.
func (n named) wait(ref string) (code int, err error) {
	for {
		code, id, err := n.waitOnce(ref)
		if !errors.Is(err, container.ErrNotRunning) && !errors.Is(err, container.ErrEnded) {
			return code, err
		}
		_, state, err := container.Load(n.dir, id)
		if err != nil || !state.Lives() {
			return state.ExitCode, err
		}
		// Of a monitor that is killed the lock goes soon after the connections.
		select {
		case <-n.Done():
			return 0, context.Cause(n.Context.Context)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// waitOnce waits as long as there is a monitor. It gives the container's id.
func (n named) waitOnce(ref string) (code int, id string, err error) {
	client, config, err := n.dial(ref)
	if err != nil {
		return 0, config.ID, err
	}
	defer func() { _ = client.Close() }()
	exit, err := client.Wait()
	return exit.Code, config.ID, err
}

func pauseCommand() *cli.Command {
	return &cli.Command{
		Name:      "pause",
		Category:  categoryMore,
		Usage:     "Keep the programs in containers from running",
		ArgsUsage: "CONTAINER...",
		Action: onEach(func(n named, ref string) error {
			return n.ask(ref, (*container.Client).Pause)
		}),
	}
}

func unpauseCommand() *cli.Command {
	return &cli.Command{
		Name:      "unpause",
		Category:  categoryMore,
		Usage:     "Let paused containers go on",
		ArgsUsage: "CONTAINER...",
		Action: onEach(func(n named, ref string) error {
			return n.ask(ref, (*container.Client).Resume)
		}),
	}
}
