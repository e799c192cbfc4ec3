package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
)

func rmCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Category:  categoryBuild,
		Usage:     "Remove containers",
		ArgsUsage: "CONTAINER...",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill those that run; take no offence at those that aren't there"},
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "remove their volumes that have no name"},
		}, laterBools("link", "l")...),
		Action: coded(rm),
	}
}

// rm removes containers. What they have changed may belong to subordinate ids, and
// so it does that inside the user namespace.
func rm(c *cli.Context) error {
	if err := needSome(c, "container"); err != nil {
		return err
	}
	if !userns.Inside() {
		return enterWithout(c)
	}
	return withStore(c, func(store *storage.Store) error {
		if err := store.Sweep(c.Context, true); err != nil {
			return err
		}
		n := named{c, containersDir(store), nil}
		r := remover{n, store}
		return n.each(func(ref string) (string, error) {
			err := r.remove(ref)
			if err != nil && c.Bool("force") && errors.Is(err, container.ErrUnknown) {
				tell(c.App.ErrWriter, err)
				return "", nil
			}
			return ref, err
		})
	})
}

// remover removes containers, inside the user namespace.
type remover struct {
	named
	store *storage.Store
}

// remove removes a container. With force it kills also what somebody else has
// started meanwhile.
func (r remover) remove(ref string) error {
	for {
		err := r.removeOnce(ref)
		if !errors.Is(err, container.ErrRunning) {
			return err
		}
		if !r.Bool("force") {
			return stillRuns(ref, container.StatusRunning)
		}
	}
}

// removeOnce fails with container.ErrRunning where somebody has started it.
func (r remover) removeOnce(ref string) error {
	config, state, err := r.find(ref)
	if err != nil {
		return err
	}
	if state.Lives() {
		if !r.Bool("force") {
			return stillRuns(ref, state.Status)
		}
		if err := r.kill(config.ID); err != nil {
			return fmt.Errorf("cannot remove container %q: could not kill: %w", ref, err)
		}
	}
	_, err = takeContainer(r.Context.Context, r.store, config, r.Bool("volumes"))
	return err
}

// stillRuns tells that a container has to be stopped before it is removed.
func stillRuns(ref string, status container.Status) error {
	how := "stop the container before removing or force remove"
	if status == container.StatusPaused {
		how = "unpause and then " + how
	}
	return fault.New("builder rm -f "+ref, "cannot remove container %q: container is %s: %s", ref, status, how)
}

// kill ends a container, and returns when it has ended.
func (r remover) kill(id string) error {
	client, err := container.Dial(r.dir, id)
	if err == nil {
		defer func() { _ = client.Close() }()
		now := 0
		err = client.Stop(unix.SignalName(unix.SIGKILL), &now)
	}
	if errors.Is(err, container.ErrNotRunning) || errors.Is(err, container.ErrEnded) || errors.Is(err, container.ErrUnknown) {
		return nil
	}
	return err
}

// takeContainer removes a container that has no program, and gives what its tree
// took. It is no error that it has gone meanwhile. It works inside the user
// namespace.
func takeContainer(ctx context.Context, store *storage.Store, config container.Config, volumes bool) (bytes int64, err error) {
	dir := containersDir(store)
	m, err := container.Open(ctx, dir, config.ID)
	if errors.Is(err, container.ErrUnknown) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if volumes || config.Remove {
		if err := removeAnonymous(ctx, store.Volumes(), dir, config); err != nil {
			return 0, errors.Join(err, m.Close())
		}
	}
	if bytes, err = store.Collector(true).RemoveKept(config.ID); err != nil {
		return 0, errors.Join(err, m.Close())
	}
	return bytes, m.Remove()
}
