package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
)

// completing is the first argument of a call by a shell that wants to know how a
// command line goes on: the line's words follow, without the program's name; the
// last is the one that is being written, and may be empty.
//
// An offer is a line, with a description behind a tab where there is one.
// offerFiles and offerDirectories ask the shell to offer those itself.
const completing = "__complete"

const (
	offerFiles       = ":files"
	offerDirectories = ":directories"
)

// complete prints what a half-written command line may go on with. Nothing of it
// is executed. Of what it doesn't understand it offers nothing.
func complete(app *cli.App, words []string, w io.Writer) {
	if len(words) == 0 {
		return
	}
	last := len(words) - 1
	p := &completer{
		app: app, word: words[last], out: w,
		line: commandLine{levels: []*level{{words: []string{programName}, flags: globalOptions(app)}}, commands: app.Commands},
	}
	if err := p.line.read(words[:last]); err != nil && p.line.wanting == nil {
		return
	}
	name, _, joined := strings.Cut(p.word, "=")
	switch {
	case p.line.wanting != nil:
		p.values(p.line.wanting, "")
	case p.line.ended || p.word == "" || p.word[0] != '-':
		p.arguments()
	case !joined:
		p.flags()
	default:
		if _, f := p.line.find(strings.TrimLeft(name, "-")); f != nil {
			p.values(f, name+"=")
		}
	}
}

// completer is one half-written command line.
type completer struct {
	app  *cli.App
	line commandLine
	word string // as far as it is written
	out  io.Writer
}

func (p *completer) offer(word, text string) {
	if text != "" {
		word += "\t" + text
	}
	_, _ = fmt.Fprintln(p.out, word)
}

// flags offers the flags of the command, and the program's own where there is no
// command yet or none of its flags begins like the word.
func (p *completer) flags() {
	for _, level := range slices.Backward(p.line.levels) {
		found := false
		for _, f := range level.flags {
			found = p.flag(level, f) || found
		}
		if found {
			return
		}
	}
}

// flag offers a flag unless it is there already, and tells whether it begins
// like the word. Flags that --help leaves out are offered to those who know how
// they begin.
func (p *completer) flag(on *level, f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	if _, given := on.called[f]; !ok || given && !repeatable(f) || flagdoc.CategoryOf(f) != "" {
		return false
	}
	visible, _ := f.(cli.VisibleFlag)
	_, text := flagdoc.Placeholder(doc.GetUsage())
	found := false
	for _, name := range f.Names() {
		begins := strings.HasPrefix(flagdoc.Dashed(name), p.word)
		if begins && (visible.IsVisible() || len(p.word) > len("--")) && (len(name) > 1 || p.word == flagdoc.Dashed(name)) {
			p.offer(flagdoc.Dashed(name), text)
			found = true
		}
	}
	return found
}

func repeatable(f cli.Flag) bool {
	slice, ok := f.(cli.DocGenerationSliceFlag)
	return ok && slice.IsSliceFlag()
}

// arguments offers commands where one may come, and else what the command takes.
func (p *completer) arguments() {
	if len(p.line.commands) > 0 && !p.line.ended {
		for _, c := range p.line.commands {
			if !c.Hidden {
				p.offer(p.commandName(c), c.Usage)
			}
		}
	}
	c := p.command()
	if c == nil || p.line.trailing && len(p.line.arguments) > 0 {
		return
	}
	name := argumentAt(c.ArgsUsage, len(p.line.arguments))
	if name == "LIST" { // of manifests, which is an image's name too; flags have other lists
		name = "IMAGE"
	}
	p.kind(name, "")
}

// commandName is that one of a command's names that begins like the word.
func (p *completer) commandName(c *cli.Command) string {
	for _, name := range c.Names() {
		if strings.HasPrefix(name, p.word) {
			return name
		}
	}
	return c.Name
}

// command is the innermost one that the line names.
func (p *completer) command() *cli.Command {
	var c *cli.Command
	for _, level := range p.line.levels[1:] {
		commands := p.app.Commands
		if c != nil {
			commands = c.Subcommands
		}
		c = commands[slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(level.words[0]) })]
	}
	return c
}

// argumentAt is the word of ArgsUsage for an argument: of "IMAGE [COMMAND...]"
// the first is IMAGE. The last is for all that follow where it says so.
func argumentAt(usage string, i int) string {
	usage, _, _ = strings.Cut(usage, "[--")
	kinds := strings.Fields(usage)
	if i >= len(kinds) {
		if len(kinds) == 0 || !strings.Contains(kinds[len(kinds)-1], "...") {
			return ""
		}
		i = len(kinds) - 1
	}
	kind := strings.TrimSuffix(kinds[i], "...")
	if inner, optional := strings.CutPrefix(kind, "["); optional {
		kind = strings.TrimSuffix(inner, "]")
	}
	return strings.TrimSuffix(kind, "...")
}

// print offers what a function prints for the line's store, behind the part of
// the word that is settled.
func (p *completer) print(before string, offers cli.BashCompleteFunc) {
	var lines bytes.Buffer
	app := *p.app
	app.Writer = &lines
	set := flag.NewFlagSet(programName, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range app.Flags {
		if err := f.Apply(set); err != nil {
			return
		}
	}
	if err := set.Parse(p.line.levels[0].words[1:]); err != nil {
		return
	}
	offers(cli.NewContext(&app, set, nil))
	for line := range strings.Lines(lines.String()) {
		_, _ = fmt.Fprint(p.out, before+line)
	}
}
