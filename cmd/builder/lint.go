package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
)

// violation is the exit code of --check where there are warnings, as docker
// has it.
const violation = exitStatus(1)

// callFlag is docker's --call, of which check is --check.
func callFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "call", Hidden: true, Usage: "`METHOD`: build, or check as --check does",
		Action: func(c *cli.Context, text string) error {
			method, form, _ := strings.Cut(text, ",")
			switch {
			case text == "build":
				return nil
			case method == "check" && form == "format=json":
				return errors.Join(c.Set("check", "true"), c.Set("format", "json"))
			case text == "check":
				return c.Set("check", "true")
			}
			return fault.NotYet("--call " + text)
		},
	}
}

// checkDockerfile is `bud --check`: the linter's warnings, each with the lines that it is
// about.
func checkDockerfile(c *cli.Context) error {
	inJSON := c.String("format") == "json"
	if inJSON { // which is no image's format
		if err := c.Set("format", "oci"); err != nil {
			return err
		}
	}
	o, err := buildOptions(c)
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		found, err := build.Check(c.Context, o, store)
		for _, name := range found.Unknown {
			_, _ = fmt.Fprintf(c.App.ErrWriter, "%s: %s isn't in the store: variables of the stages upon it were not looked at\n", programName, name)
		}
		annotate(c.App.ErrWriter, found.Linted)
		show := printChecked
		if inJSON {
			show = printCheckedJSON
		}
		if found.File != "" && (err == nil || inJSON || len(found.Warnings) > 0) {
			if printErr := show(c.App.Writer, found); printErr != nil {
				return printErr
			}
		}
		if err == nil && len(found.Warnings) > 0 {
			return violation
		}
		return err
	})
}

// printChecked prints in docker's words.
func printChecked(w io.Writer, found build.Checked) error {
	var b strings.Builder
	switch n := len(found.Warnings); n {
	case 0:
		b.WriteString("Check complete, no warnings found.\n")
	case 1:
		b.WriteString("Check complete, 1 warning has been found!\n")
	default:
		fmt.Fprintf(&b, "Check complete, %d warnings have been found!\n", n)
	}
	for _, warning := range found.Warnings {
		fmt.Fprintf(&b, "\nWARNING: %s", warning.Rule)
		if warning.URL != "" {
			fmt.Fprintf(&b, " - %s", warning.URL)
		}
		fmt.Fprintf(&b, "\n%s\n%s:%d\n", warning.Text, found.File, warning.Line)
		excerpt(&b, found.Source, warning.Line, warning.EndLine)
		fmt.Fprintf(&b, "to mend it: %s\n", warning.Remedy)
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// excerpt shows lines of the source with some around them, as docker does.
func excerpt(b *strings.Builder, source []byte, first, last int) {
	const around, rule = 2, "--------------------\n"
	b.WriteString(rule)
	n := 0
	for line := range bytes.Lines(source) {
		if n++; n < first-around || n > last+around {
			continue
		}
		mark := "   "
		if n >= first && n <= last {
			mark = ">>>"
		}
		fmt.Fprintf(b, " %3d | %s %s\n", n, mark, bytes.TrimRight(line, "\r\n"))
	}
	b.WriteString(rule)
}

func printCheckedJSON(w io.Writer, found build.Checked) error {
	warnings := found.Warnings
	if warnings == nil {
		warnings = []dockerfile.Warning{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		File     string               `json:"file"`
		Warnings []dockerfile.Warning `json:"warnings"`
		// Unknown are base images that were not there to be looked at.
		Unknown []string `json:"unknownBases,omitempty"`
	}{found.File, warnings, found.Unknown})
}

// printWarnings prints those of a build: one line each.
func printWarnings(w io.Writer, l build.Linted) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s found in %s (builder bud --check tells more):\n", count(len(l.Warnings), "warning"), l.File)
	for _, warning := range l.Warnings {
		fmt.Fprintf(&b, " - %s: %s (line %d)\n", warning.Rule, printable(warning.Text), warning.Line)
	}
	_, _ = io.WriteString(w, b.String())
	annotate(w, l)
}
