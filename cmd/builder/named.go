package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/container"
)

// named are the containers that a command is about.
type named struct {
	*cli.Context
	dir string   // of all containers
	env []string // what a process inside the user namespace is told of the store
}

// openNamed finds where containers are. The store isn't kept open: some commands
// wait for long.
func openNamed(c *cli.Context) (named, error) {
	store, err := openStore(c)
	if err != nil {
		return named{}, err
	}
	n := named{c, containersDir(store), storeEnv(store)}
	return n, store.Close()
}

// find gives the container that ref means.
func (n named) find(ref string) (container.Config, container.State, error) {
	return container.Find(n.dir, ref)
}

// dial gives a connection to the monitor of the container that ref means. Where it
// has no program the error is container.ErrNotRunning.
func (n named) dial(ref string) (*container.Client, container.Config, error) {
	config, state, err := n.find(ref)
	if err != nil {
		return nil, config, err
	}
	if !state.Lives() {
		return nil, config, container.ErrNotRunning
	}
	client, err := container.Dial(n.dir, config.ID)
	return client, config, err
}

// ask calls fn with a connection to the monitor of the container that ref means.
func (n named) ask(ref string, fn func(*container.Client) error) error {
	client, config, err := n.dial(ref)
	if errors.Is(err, container.ErrNotRunning) {
		err = fmt.Errorf("container %s is not running", config.ID)
	}
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return fn(client)
}

// onEach does the same to each of the containers that are named, to all of them at
// once, and prints the names in their order. It goes on after an error.
func onEach(do func(n named, ref string) error) cli.ActionFunc {
	return coded(func(c *cli.Context) error {
		if err := needSome(c, "container"); err != nil {
			return err
		}
		n, err := openNamed(c)
		if err != nil {
			return err
		}
		return n.each(func(ref string) (string, error) { return ref, do(n, ref) })
	})
}

// each calls do for all containers that are named, and prints what it gives.
func (n named) each(do func(ref string) (line string, err error)) error {
	refs := n.Args().Slice()
	lines, errs := make([]string, len(refs)), make([]error, len(refs))
	var doing sync.WaitGroup
	for i, ref := range refs {
		doing.Go(func() { lines[i], errs[i] = do(ref) })
	}
	doing.Wait()
	var failed error
	for i, line := range lines {
		if errs[i] != nil {
			failed = errSome
			report(n.Context.Context, n.App.ErrWriter, errs[i])
			continue
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if _, err := fmt.Fprintln(n.App.Writer, line); err != nil {
			return err
		}
	}
	return failed
}
