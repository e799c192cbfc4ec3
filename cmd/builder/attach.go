package main

import (
	"errors"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
)

func attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Category:  categoryMore,
		Usage:     "Join the streams of a container's program",
		ArgsUsage: "CONTAINER",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-stdin", Usage: "don't pass the standard input on"},
			detachKeysFlag(),
			&cli.BoolFlag{Name: "sig-proxy", Value: true, Usage: "pass signals on to the program"},
		},
		Action: coded(attach),
	}
}

func attach(c *cli.Context) error {
	ref, err := argument(c, "a container")
	if err != nil {
		return err
	}
	keys, err := readDetachKeys(c)
	if err != nil {
		return err
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	config, state, err := n.find(ref)
	if err != nil {
		return err
	}
	if err := checkAttach(ref, state); err != nil {
		return err
	}
	w := wishes{
		in: config.OpenStdin && !c.Bool("no-stdin"), out: true, err: true,
		terminal: config.Terminal, detachKeys: keys, proxy: c.Bool("sig-proxy") && !config.Terminal,
	}
	if !c.Bool("no-stdin") && w.terminal {
		if err := needTerminal(os.Stdin); err != nil {
			return err
		}
	}
	return n.attach(config.ID, w)
}

// checkAttach tells that there is nothing to be attached to.
func checkAttach(ref string, s container.State) error {
	switch {
	case !s.Lives():
		return fault.New("builder start -ai "+ref, "cannot attach to a stopped container, start it first")
	case s.Status == container.StatusPaused:
		return fault.New("builder unpause "+ref, "cannot attach to a paused container, unpause it first")
	case s.Status == container.StatusRestarting:
		return errors.New("cannot attach to a restarting container, wait until it is running")
	}
	return nil
}

// attach joins the user to a container that runs.
func (n named) attach(id string, w wishes) error {
	client, err := container.Dial(n.dir, id)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	a, err := newAttached(w)
	if err != nil {
		return err
	}
	s := a.streams
	err = client.Attach(s.In, s.Out, s.Err, s.Size)
	a.passed()
	if err != nil {
		return err
	}
	exit, err := a.follow(n.Context.Context, client)
	return containerExit(exit, err)
}

// needTerminal tells that a program which has a terminal can't be joined to what is
// none.
func needTerminal(in *os.File) error {
	if isTerminal(in) {
		return nil
	}
	return &fault.Error{Err: errors.New("the input device is not a TTY"), Remedy: "leave out -t, or -i", Code: 1}
}
