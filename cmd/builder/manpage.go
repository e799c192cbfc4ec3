package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/roff"
)

// manualSection is the part of a system's manual for commands.
const manualSection = 1

// manualWriter makes the manual's pages of the commands' definitions.
type manualWriter struct {
	app  *cli.App
	date time.Time
	manualPages
}

// manualPages are the pages, by the names of their files.
type manualPages struct {
	text   map[string]string // sources
	second map[string]string // names of pages that other names stand for
}

func writeManual(app *cli.App, date time.Time) manualPages {
	w := &manualWriter{app, date, manualPages{map[string]string{}, map[string]string{}}}
	w.program()
	for _, c := range app.Commands {
		w.command(c, []string{programName})
	}
	return w.manualPages
}

// pageName is "builder-image-ls".
func pageName(path []string) string { return strings.Join(path, "-") }

// crossReference is "builder-image-ls(1)".
func crossReference(path ...string) string {
	return fmt.Sprintf("%s(%d)", pageName(path), manualSection)
}

func pageFile(path ...string) string { return fmt.Sprintf("%s.%d", pageName(path), manualSection) }

func (w *manualWriter) begin(path []string) *roff.Page {
	return roff.New(pageName(path), manualSection, w.date, programName+" "+w.app.Version, "User Commands")
}

// program writes builder(1).
func (w *manualWriter) program() {
	path := []string{programName}
	text := manual()[programName]
	p := w.begin(path)
	p.Name(path, w.app.Usage)
	p.Section("synopsis")
	p.Marked(synopsis(path, "COMMAND [ARGUMENT...]", true))
	p.Section("description")
	p.Text(text.more)
	p.Section("commands")
	for _, c := range w.app.Commands {
		if !c.Hidden {
			p.Item(roff.Mark(crossReference(programName, c.Name)), c.Usage)
		}
	}
	optionSections(p, slices.Concat(w.app.Flags, []cli.Flag{cli.HelpFlag, cli.VersionFlag}))
	p.Section("environment")
	for _, f := range w.app.Flags {
		environmentItem(p, f)
	}
	writeItems(p, programEnvironment)
	writeExamples(p, text)
	p.Section("exit status")
	writeItems(p, slices.Concat(exitDone, programExits))
	p.Section("files")
	writeItems(p, slices.Concat(storeFiles, machineFiles, loginFiles, registryFiles))
	p.Section("see also")
	p.Paragraph(strings.Join(otherPages, ", "))
	w.text[pageFile(path...)] = p.String()
}

// command writes the page of a command, and those of the commands beneath it.
// Where it is another command's second name, as image ls is, its page is that
// command's; and that tells all names.
func (w *manualWriter) command(c *cli.Command, parents []string) {
	if c.Hidden {
		return
	}
	path := append(slices.Clone(parents), c.Name)
	if first := w.firstName(c, parents); first != nil {
		w.second[pageFile(path...)] = pageFile(programName, first.Name)
		return
	}
	for _, alias := range c.Aliases {
		w.second[pageFile(append(slices.Clone(parents), alias)...)] = pageFile(path...)
	}
	w.page(c, path)
	for _, sub := range c.Subcommands {
		w.command(sub, path)
	}
}

// firstName gives the command of the first level that is c under another name.
func (w *manualWriter) firstName(c *cli.Command, parents []string) *cli.Command {
	if len(parents) < 2 {
		return nil
	}
	for _, first := range w.app.Commands {
		if slices.ContainsFunc(c.Names(), first.HasName) && slices.Equal(flagNames(c), flagNames(first)) {
			return first
		}
	}
	return nil
}

// secondNames gives the paths by which a command of the first level is called
// too.
func (w *manualWriter) secondNames(c *cli.Command, path []string) [][]string {
	var names [][]string
	if len(path) != 2 {
		return nil
	}
	for _, group := range w.app.Commands {
		for _, sub := range group.Subcommands {
			parents := []string{programName, group.Name}
			if w.firstName(sub, parents) == c {
				names = append(names, append(parents, sub.Name))
			}
		}
	}
	return names
}

func flagNames(c *cli.Command) []string {
	var names []string
	for _, f := range c.Flags {
		names = append(names, f.Names()...)
	}
	return names
}

func (w *manualWriter) page(c *cli.Command, path []string) {
	text := manual()[strings.Join(path[1:], " ")]
	p := w.begin(path)
	paths := [][]string{path}
	for _, alias := range c.Aliases {
		paths = append(paths, append(slices.Clone(path[:len(path)-1]), alias))
	}
	paths = append(paths, w.secondNames(c, path)...)
	var names []string
	for _, path := range paths {
		names = append(names, pageName(path))
	}
	p.Name(names, c.Usage)
	p.Section("synopsis")
	writeSynopsis(p, c, paths)
	p.Section("description")
	p.Paragraph(c.Usage + ".")
	for _, more := range []string{c.Description, text.more} {
		if more != "" {
			p.Text(more)
		}
	}
	p.Paragraph("The options of " + crossReference(programName) + " may stand before the command or behind it.")
	if subcommands(c) {
		p.Section("commands")
		for _, sub := range c.Subcommands {
			if !sub.Hidden {
				p.Item(roff.Mark(crossReference(append(slices.Clone(path), sub.Name)...)), sub.Usage)
			}
		}
	}
	optionSections(p, c.Flags)
	writeEnvironment(p, c)
	writeExamples(p, text)
	p.Section("exit status")
	writeItems(p, slices.Concat(exitDone, exitsOf(path)))
	p.Section("files")
	writeItems(p, filesOf(c))
	p.Section("see also")
	p.Paragraph(w.related(c, path))
	w.text[pageFile(path...)] = p.String()
}

func subcommands(c *cli.Command) bool {
	return slices.ContainsFunc(c.Subcommands, func(sub *cli.Command) bool { return !sub.Hidden })
}

// related names the pages above, beneath and beside a command's.
func (w *manualWriter) related(c *cli.Command, path []string) string {
	pages := []string{crossReference(programName)}
	beside := w.app.Commands
	for i := 2; i < len(path); i++ {
		pages = append(pages, crossReference(path[:i]...))
	}
	if len(path) > 2 {
		beside = w.app.Command(path[1]).Subcommands
	}
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			pages = append(pages, crossReference(append(slices.Clone(path), sub.Name)...))
		}
	}
	for _, other := range beside {
		if !other.Hidden && other.Name != c.Name && other.Category == c.Category {
			pages = append(pages, crossReference(append(slices.Clone(path[:len(path)-1]), other.Name)...))
		}
	}
	return strings.Join(pages, ", ")
}
