package main

import (
	"io"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestOfCommandsOnlyTheNamedOnesAreReadied(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	lighten(app, []string{programName, "image", "ls", "--help"})
	image := app.Command("image")
	for _, c := range []struct {
		command *cli.Command
		readied bool
	}{{image, true}, {image.Subcommands[0], false}, {app.Command("run"), false}} {
		if got := c.command.CustomHelpTemplate != ""; got != c.readied {
			t.Errorf("%s: help written: %v, want %v", c.command.Name, got, c.readied)
		}
	}
	for _, c := range image.Subcommands {
		if c.HasName("ls") && c.CustomHelpTemplate == "" {
			t.Error("image ls has no help")
		}
	}
}
