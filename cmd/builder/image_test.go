package main

import (
	"io"
	"strings"
	"testing"
	"text/template"

	"github.com/urfave/cli/v2"
)

func TestHelpFitsTheScreen(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	checkScreen(t, programName, app.CustomAppHelpTemplate, 24, 80)
	var check func(commands []*cli.Command, parent string)
	check = func(commands []*cli.Command, parent string) {
		for _, c := range commands {
			name := parent + " " + c.Name
			help := printedHelp(t, commandHelp(c, name), c)
			checkScreen(t, c.Name, help, 40, 100)
			if c.Description != "" && !strings.Contains(help, "\n\n"+c.Usage+"\n\n"+strings.Trim(c.Description, "\n")+"\n") {
				t.Errorf("%s: the description is no paragraph of its own:\n%s", c.Name, help)
			}
			check(c.Subcommands, name)
		}
	}
	check(app.Commands, programName)
}

// printedHelp is what the library makes of a help text.
func printedHelp(t *testing.T, text string, c *cli.Command) string {
	t.Helper()
	help, err := template.New("").Parse(text)
	if err != nil {
		t.Fatalf("the help of %s: %v", c.Name, err)
	}
	var b strings.Builder
	if err := help.Execute(&b, c); err != nil {
		t.Fatalf("the help of %s: %v", c.Name, err)
	}
	return b.String()
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

func TestHelpOfGroupsHasColumns(t *testing.T) {
	_, list, _ := strings.Cut(commandHelp(newApp(io.Discard, io.Discard).Command("image"), "image"), "Commands:\n")
	column := strings.Index(list, "Show how")
	for line := range strings.Lines(list) {
		if line == "\n" {
			break
		}
		if line[column-1] != ' ' || line[column] < 'A' || line[column] > 'Z' {
			t.Errorf("out of its column: %s", line)
		}
	}
}
