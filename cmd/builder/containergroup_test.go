package main

import (
	"io"
	"slices"
	"testing"

	"github.com/urfave/cli/v2"
)

// docker's names of commands about containers, below container and without it.
var containerCommands = []string{
	"attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "ls", "list", "ps", "pause", "port", "rename",
	"restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
}

func TestCommandsAboutContainersHaveDockersSecondNames(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	group := app.Command("container").Subcommands
	for _, name := range containerCommands {
		below := slices.ContainsFunc(group, func(c *cli.Command) bool { return c.HasName(name) })
		if app.Command(name) != nil && !below {
			t.Errorf("there is %s, and no container %s", name, name)
		}
	}
	for _, c := range group {
		if !slices.Contains(append(containerCommands, "inspect", "prune"), c.Name) {
			t.Errorf("docker has no container %s", c.Name)
		}
	}
}
