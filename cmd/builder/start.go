package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/storage/snapshot"
)

func startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Category:  categoryMore,
		Usage:     "Start containers that have ended, or were only made",
		ArgsUsage: "CONTAINER...",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "attach", Aliases: []string{"a"}, Usage: "show what it prints, and pass signals on"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass the standard input on"},
			detachKeysFlag(),
		}, later("checkpoint", "checkpoint-dir")...),
		Action: coded(start),
	}
}

// start starts one container after the other, as docker does.
func start(c *cli.Context) error {
	if err := needSome(c, "container"); err != nil {
		return err
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	if c.Bool("attach") || c.Bool("interactive") {
		if c.NArg() > 1 {
			return fault.New("name one, or leave out -a and -i", "you cannot start and attach multiple containers at once")
		}
		return n.startAttached(c.Args().First())
	}
	var failed []string
	for _, ref := range c.Args().Slice() {
		err := n.start(ref)
		if c.Err() != nil {
			return err
		}
		if err != nil {
			report(c.Context, c.App.ErrWriter, err)
			failed = append(failed, ref)
			continue
		}
		if _, err := fmt.Fprintln(c.App.Writer, ref); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed to start containers: %s", strings.Join(failed, ", "))
	}
	return nil
}

// start starts a container. It is no error that it runs already.
func (n named) start(ref string) error {
	config, state, err := n.find(ref)
	if err != nil {
		return err
	}
	if err := checkStart(state); err != nil || state.Lives() {
		return err
	}
	err = n.begin(config, &attached{}, func(*container.Client) error {
		noteLogout(n.Context)
		return nil
	})
	if errors.Is(err, container.ErrRunning) {
		return nil // somebody else was quicker
	}
	return err
}

// startAttached starts a container with the user attached to it; to one that runs
// already it only attaches him.
func (n named) startAttached(ref string) error {
	config, state, err := n.find(ref)
	if err != nil {
		return err
	}
	if err := checkStart(state); err != nil {
		return err
	}
	keys, err := readDetachKeys(n.Context)
	if err != nil {
		return err
	}
	w := wishes{
		in: n.Bool("interactive") && config.OpenStdin, out: true, err: true,
		terminal: config.Terminal, detachKeys: keys, proxy: !config.Terminal,
	}
	if state.Lives() {
		return n.attach(config.ID, w)
	}
	a, err := newAttached(w)
	if err != nil {
		return err
	}
	return n.begin(config, a, func(client *container.Client) error {
		return a.followUnlessLeft(n.Context, client)
	})
}

// checkStart tells that a container's state is no place to start from.
func checkStart(s container.State) error {
	if s.Status == container.StatusPaused {
		return errors.New("cannot start a paused container, try unpause instead")
	}
	return nil
}

// begin has a new monitor start the container, and goes on with fn when its program
// runs.
func (n named) begin(config container.Config, a *attached, fn func(*container.Client) error) error {
	if err := damaged(config); err != nil {
		return errors.Join(err, a.close())
	}
	at, err := findPlace(n.Context, config.Network, config.KeepID, config.Spec.Limits)
	if err != nil {
		return errors.Join(err, a.close())
	}
	defer at.close()
	at.label = config.Name
	if err := asMade(n.Context, config); err != nil {
		return errors.Join(err, a.close())
	}
	client, err := startMonitor(n.Context, n.env, at)
	if err != nil {
		return errors.Join(err, a.close())
	}
	defer func() { _ = client.Close() }()
	if _, err := a.begun(client, monitorRequest{ID: config.ID, Start: true, Shares: at.network != nil}); err != nil {
		return err
	}
	return fn(client)
}

func restartCommand() *cli.Command {
	return &cli.Command{
		Name:      "restart",
		Category:  categoryMore,
		Usage:     "Stop containers, and start them again",
		ArgsUsage: "CONTAINER...",
		Flags:     stopFlags(),
		Action:    onEach(restartContainer),
	}
}

// restartContainer has the monitor start the program anew, where there is one.
func restartContainer(n named, ref string) error {
	signal, timeout, err := readStopFlags(n.Context)
	if err != nil {
		return err
	}
	client, _, err := n.dial(ref)
	if err == nil {
		defer func() { _ = client.Close() }()
		err = client.Restart(signal, timeout)
	}
	if errors.Is(err, container.ErrNotRunning) || errors.Is(err, container.ErrEnded) {
		return n.start(ref)
	}
	return err
}

// asMade takes the storage driver that a container was made with, its runtime and its
// isolation. Who forbids running anything means this one, too; who did when it was
// made only didn't start it.
func asMade(c *cli.Context, config container.Config) error {
	if config.Runtime != "" {
		if err := c.Set(flagRuntime, config.Runtime); err != nil {
			return err
		}
	}
	made := config.Isolation
	if made != "" && made != string(isolation.None) && askedIsolation(c).Level != isolation.None {
		if err := c.Set(flagIsolation, made); err != nil {
			return err
		}
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	if err = useDriver(c, store, config.ID); errors.Is(err, snapshot.ErrNotFound) {
		err = nil // the monitor tells what is to be done about it
	}
	return errors.Join(err, store.Close())
}
