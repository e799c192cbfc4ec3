// Package manual makes the manual's pages of the commands' definitions, and of the
// texts and examples that those have no room for.
package manual

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/roff"
)

// program is the command's name, as the texts have it.
const program = "builder"

// section is the part of a system's manual for commands.
const section = 1

// Pages are the manual's.
type Pages struct {
	Text   map[string]string // sources, by the names of their files
	Second map[string]string // names of files, and the files that they stand for
}

// Write makes the manual of a program. Its pages bear the date.
func Write(app *cli.App, date time.Time) Pages {
	w := &writer{app, date, Pages{map[string]string{}, map[string]string{}}}
	w.program()
	for _, c := range app.Commands {
		w.command(c, []string{program})
	}
	return w.Pages
}

// Save writes the pages into a directory. Second names are symbolic links.
func (p Pages) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range p.Text {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, page := range p.Second {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(page, link); err != nil {
			return err
		}
	}
	return nil
}

// writer makes the pages of the commands' definitions.
type writer struct {
	app  *cli.App
	date time.Time
	Pages
}

// pageName is "builder-image-ls".
func pageName(path []string) string { return strings.Join(path, "-") }

// crossReference is "builder-image-ls(1)".
func crossReference(path ...string) string {
	return fmt.Sprintf("%s(%d)", pageName(path), section)
}

// File is the name of a command's page: "builder-image-ls.1".
func File(path ...string) string { return fmt.Sprintf("%s.%d", pageName(path), section) }

func (w *writer) begin(path []string) *roff.Page {
	return roff.New(pageName(path), section, w.date, program+" "+w.app.Version, "User Commands")
}

// program writes builder(1).
func (w *writer) program() {
	path := []string{program}
	text := Texts()[program]
	p := w.begin(path)
	p.Name(path, w.app.Usage)
	p.Section("synopsis")
	p.Marked(synopsis(path, "COMMAND [ARGUMENT...]", true))
	p.Section("description")
	p.Text(text.More)
	p.Section("commands")
	for _, c := range w.app.Commands {
		if !c.Hidden {
			p.Item(roff.Mark(crossReference(program, c.Name)), c.Usage)
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
	w.Text[File(path...)] = p.String()
}

// command writes the page of a command, and those of the commands beneath it.
// Where it is another command's second name, as image ls is, its page is that
// command's; and that tells all names. A hidden command has one where Texts has
// words for it.
func (w *writer) command(c *cli.Command, parents []string) {
	path := append(slices.Clone(parents), c.Name)
	if _, told := Texts()[strings.Join(path[1:], " ")]; c.Hidden && !told {
		return
	}
	if first := FirstName(w.app, c, parents); first != nil {
		w.Second[File(path...)] = File(program, first.Name)
		return
	}
	for _, alias := range c.Aliases {
		w.Second[File(append(slices.Clone(parents), alias)...)] = File(path...)
	}
	w.page(c, path)
	for _, sub := range c.Subcommands {
		w.command(sub, path)
	}
}

// FirstName gives the command of the first level that c, which stands beneath
// parents, is another name of: images for image ls.
func FirstName(app *cli.App, c *cli.Command, parents []string) *cli.Command {
	if len(parents) < 2 {
		return nil
	}
	for _, first := range app.Commands {
		if slices.ContainsFunc(c.Names(), first.HasName) && slices.Equal(flagNames(c), flagNames(first)) {
			return first
		}
	}
	return nil
}

// secondNames gives the paths by which a command of the first level is called
// too.
func (w *writer) secondNames(c *cli.Command, path []string) [][]string {
	var names [][]string
	if len(path) != 2 {
		return nil
	}
	for _, group := range w.app.Commands {
		for _, sub := range group.Subcommands {
			parents := []string{program, group.Name}
			if FirstName(w.app, sub, parents) == c {
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

func (w *writer) page(c *cli.Command, path []string) {
	text := Texts()[strings.Join(path[1:], " ")]
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
	for _, more := range []string{c.Description, text.More} {
		if more != "" {
			p.Text(more)
		}
	}
	p.Paragraph("The options of " + crossReference(program) + " may stand before the command or behind it.")
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
	w.Text[File(path...)] = p.String()
}

func subcommands(c *cli.Command) bool {
	return slices.ContainsFunc(c.Subcommands, func(sub *cli.Command) bool { return !sub.Hidden })
}

// related names the pages above, beneath and beside a command's.
func (w *writer) related(c *cli.Command, path []string) string {
	pages := []string{crossReference(program)}
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
