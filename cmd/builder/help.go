package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
)

// appHelp is the first screen: 24 lines of 80 columns hold it.
func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", app.Name, app.Usage)
	fmt.Fprintf(&b, "Usage: %s [OPTION...] COMMAND [ARGUMENT...]; COMMAND --help tells more\n", app.Name)
	for _, category := range []string{categoryBuild, categoryImages, categoryMachine} {
		fmt.Fprintf(&b, "%s:\n", category)
		writeCommands(&b, slices.DeleteFunc(slices.Clone(app.Commands), func(c *cli.Command) bool {
			return c.Category != category || c.Hidden
		}))
	}
	var more []string
	for _, c := range app.Commands {
		if c.Category == categoryMore && !c.Hidden {
			more = append(more, c.Name)
		}
	}
	writeWords(&b, categoryMore+":", more)
	flags := make([]string, 0, len(app.Flags)) // --version is the command's
	for _, f := range app.Flags {
		flags = append(flags, flagdoc.Dashed(f.Names()[0]))
	}
	writeWords(&b, "Options:", flags)
	return b.String()
}

// screenWidth is that of a terminal which nobody has made wider.
const screenWidth = 80

// writeWords writes words behind a heading, on as many lines as they need.
func writeWords(b *strings.Builder, heading string, words []string) {
	line := heading
	for _, word := range words {
		if len(line)+1+len(word) > screenWidth {
			fmt.Fprintln(b, line)
			line = " "
		}
		line += " " + word
	}
	fmt.Fprintln(b, line)
}

// writeCommands describes commands, one on a line.
func writeCommands(b *strings.Builder, commands []*cli.Command) {
	width := 12 // the same for most lists
	for _, c := range commands {
		width = max(width, len(strings.Join(c.Names(), ", ")))
	}
	for _, c := range commands {
		fmt.Fprintf(b, "  %-*s %s\n", width, strings.Join(c.Names(), ", "), c.Usage)
	}
}

// commandHelp is what --help prints for a command.
func commandHelp(c *cli.Command, name string) string {
	var b strings.Builder
	args := c.ArgsUsage
	if len(c.Subcommands) > 0 && args == "" {
		args = "COMMAND"
	}
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", strings.TrimSpace(name+" [OPTION...] "+args), c.Usage)
	if c.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.Trim(c.Description, "\n"))
	}
	if len(c.Subcommands) > 0 {
		fmt.Fprint(&b, "\nCommands:\n")
		writeCommands(&b, c.VisibleCommands())
	}
	if lines := flagLines(c.Flags); len(lines) > 0 {
		fmt.Fprintf(&b, "\nOptions:\n%s", strings.Join(lines, ""))
	}
	// The library takes it for a template.
	return strings.ReplaceAll(b.String(), "{{", `{{"{{"}}`)
}

// widestHead is how far the descriptions of flags stand off at most.
const widestHead = 32

// flagLines describes flags, one on a line.
func flagLines(flags []cli.Flag) []string {
	var heads, texts []string
	width := 0
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if v, visible := f.(cli.VisibleFlag); !ok || !visible || !v.IsVisible() {
			continue
		}
		value, text := flagdoc.Placeholder(doc.GetUsage())
		head := flagHead(f.Names(), value)
		heads, texts = append(heads, head), append(texts, text)
		if len(head) <= widestHead {
			width = max(width, len(head))
		}
	}
	var lines []string
	for i, head := range heads {
		lines = append(lines, fmt.Sprintf("  %-*s  %s\n", width, head, texts[i]))
	}
	return lines
}

// flagHead is "-t, --tag NAME".
func flagHead(names []string, value string) string {
	var short, long []string
	for _, name := range names {
		if len(name) == 1 {
			short = append(short, flagdoc.Dashed(name))
		} else {
			long = append(long, flagdoc.Dashed(name))
		}
	}
	head := strings.Join(append(short, long...), ", ")
	if len(short) == 0 {
		head = "    " + head
	}
	return strings.TrimRight(head+" "+value, " ")
}
