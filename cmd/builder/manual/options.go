package manual

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/cmd/builder/roff"
)

// writeSynopsis shows how a command is called, by each of its names.
func writeSynopsis(p *roff.Page, c *cli.Command, paths [][]string) {
	for i, path := range paths {
		if i > 0 {
			p.Break()
		}
		if subcommands(c) && c.ArgsUsage != "" {
			p.Marked(synopsis(path, c.ArgsUsage, len(c.Flags) > 0))
			p.Break()
		}
		args := c.ArgsUsage
		if subcommands(c) {
			args = "COMMAND [ARGUMENT...]"
		}
		p.Marked(synopsis(path, args, len(c.Flags) > 0))
	}
}

// synopsis is a command line, with what the user puts in in italics.
func synopsis(path []string, args string, options bool) string {
	line := roff.Bold(strings.Join(path, " "))
	if options {
		line += " [" + roff.Italic("OPTION") + "...]"
	}
	if args != "" {
		line += " " + roff.Italic(args)
	}
	return line
}

// compatibility heads the list of each category of flags that are known for
// another tool's sake.
var compatibility = []struct{ category, text string }{
	{flagdoc.Granted, "Always done, and taken for docker's or buildah's sake: "},
	{flagdoc.Ignored, "Taken, and without effect: "},
	{flagdoc.Refused, "Known, and refused with the reason: "},
}

// optionSections describes flags, also those that --help has no room for. What
// is known for another tool's sake alone comes last, by name.
func optionSections(p *roff.Page, flags []cli.Flag) {
	var described []cli.Flag
	byCategory := map[string][]string{}
	for _, f := range flags {
		if category := flagdoc.CategoryOf(f); category == "" {
			described = append(described, f)
		} else {
			for _, name := range f.Names() {
				byCategory[category] = append(byCategory[category], flagdoc.Dashed(name))
			}
		}
	}
	if len(described) > 0 {
		p.Section("options")
	}
	for _, f := range described {
		p.Item(optionHead(f), optionText(f))
	}
	if len(byCategory) > 0 {
		p.Section("other tools' options")
	}
	for _, list := range compatibility {
		if names := byCategory[list.category]; len(names) > 0 {
			p.Paragraph(list.text + strings.Join(names, ", ") + ".")
		}
	}
}

// optionHead is "-t, --tag NAME" with fonts.
func optionHead(f cli.Flag) string {
	var value string
	if doc, ok := f.(cli.DocGenerationFlag); ok {
		value, _ = flagdoc.Placeholder(doc.GetUsage())
	}
	names := slices.Clone(f.Names())
	slices.SortStableFunc(names, func(a, b string) int { return min(len(a), 2) - min(len(b), 2) })
	for i, name := range names {
		names[i] = roff.Bold(flagdoc.Dashed(name))
	}
	head := strings.Join(names, ", ")
	if value != "" {
		head += " " + roff.Italic(value)
	}
	return head
}

// optionText is a flag's description as sentences, with its default and the
// variable that stands in for it.
func optionText(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok || doc.GetUsage() == "" {
		return ""
	}
	usage := doc.GetUsage()
	text := strings.ToUpper(usage[:1]) + usage[1:] + "."
	if slice, ok := f.(cli.DocGenerationSliceFlag); ok && slice.IsSliceFlag() && !strings.Contains(usage, "repeated") {
		text += " May be repeated."
	}
	if value := defaultOf(doc); value != "" {
		text += " The default is " + value + "."
	}
	if vars := doc.GetEnvVars(); len(vars) > 0 {
		text += " Without it " + strings.Join(vars, " or ") + " is asked."
	}
	return text
}

// defaultOf is a flag's value where it isn't given: nothing, where that goes
// without saying.
func defaultOf(f cli.DocGenerationFlag) string {
	switch f := f.(type) {
	case *cli.BoolFlag:
		if f.Value {
			return "true"
		}
		return ""
	case *cli.IntFlag, *cli.Int64Flag, *cli.Float64Flag, *cli.DurationFlag:
		if value := f.GetValue(); value != "0" && value != "0s" {
			return value
		}
		return ""
	}
	if !f.TakesValue() {
		return ""
	}
	return strings.Trim(f.GetValue(), "[]")
}

// writeEnvironment tells the variables that flags of a command read. Where they
// speak with a registry, there are more.
func writeEnvironment(p *roff.Page, c *cli.Command) {
	var flags []cli.Flag
	for _, f := range c.Flags {
		if doc, ok := f.(cli.DocGenerationFlag); ok && len(doc.GetEnvVars()) > 0 {
			flags = append(flags, f)
		}
	}
	items := variablesOf(c)
	if len(flags)+len(items) == 0 {
		return
	}
	p.Section("environment")
	for _, f := range flags {
		environmentItem(p, f)
	}
	writeItems(p, items)
}

func environmentItem(p *roff.Page, f cli.Flag) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return
	}
	for _, name := range doc.GetEnvVars() {
		p.Item(roff.Bold(name), "As "+flagdoc.Dashed(f.Names()[0])+".")
	}
}

func writeItems(p *roff.Page, items []Item) {
	for _, i := range items {
		p.Item(roff.Bold(i.Head), i.Text)
	}
}

func writeExamples(p *roff.Page, text Text) {
	if len(text.Examples) == 0 {
		return
	}
	p.Section("examples")
	for _, e := range text.Examples {
		p.Paragraph(e.Head + ":")
		p.Example([]string{"$ " + e.Text})
	}
}

// hasFlag tells whether a command has the flag.
func hasFlag(c *cli.Command, name string) bool { return slices.Contains(flagNames(c), name) }
