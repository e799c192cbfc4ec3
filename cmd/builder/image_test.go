package main

import (
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestHelpFitsTheScreen(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	checkScreen(t, programName, app.CustomAppHelpTemplate, 24, 80)
	var check func(commands []*cli.Command)
	check = func(commands []*cli.Command) {
		for _, c := range commands {
			checkScreen(t, c.Name, c.CustomHelpTemplate, 40, 100)
			check(c.Subcommands)
		}
	}
	check(app.Commands)
}

func checkScreen(t *testing.T, name, text string, lines, columns int) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(all) > lines {
		t.Errorf("the help of %s has %d lines", name, len(all))
	}
	for _, line := range all {
		if len(line) > columns {
			t.Errorf("the help of %s has a line of %d columns: %s", name, len(line), line)
		}
	}
}
