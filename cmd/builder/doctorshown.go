package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/doctor/checks"
)

func printReport(c *cli.Context, r checks.Report) error {
	if c.String("format") == "json" {
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.Place)
	writeChecks(&b, r.Checks)
	fmt.Fprintf(&b, "\n%s\n", r.Conclusion())
	writeCommandsThatMend(&b, r.Commands)
	_, err := io.WriteString(c.App.Writer, printable(b.String()))
	return err
}

// Widths of the table's columns, which a terminal of screenWidth holds.
const (
	whatWidth   = 21
	stateWidth  = 8
	detailWidth = screenWidth - whatWidth - stateWidth
)

// writeChecks prints a table. What is in order takes a line or two; of all else it
// says why it matters, and the remedy, which isn't wrapped.
func writeChecks(b *strings.Builder, results []checks.Result) {
	row := func(what, state, text string) {
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%-*s%-*s%s", whatWidth, what, stateWidth, state, text), " "))
	}
	row("WHAT", "STATE", "FOUND, WHY IT MATTERS, REMEDY")
	for i, r := range results {
		what, state := r.What, string(r.State)
		if len(what) >= whatWidth {
			row(what, "", "")
			what = ""
		}
		bad := r.State == checks.Less || r.State == checks.Fails
		same := bad && i > 0 && r.Remedy != "" && r.Remedy == results[i-1].Remedy && r.State == results[i-1].State
		text := r.Found
		if same {
			text = "as above"
		}
		if bad {
			text += "\nmatters: " + r.Matters
		}
		for line := range strings.SplitSeq(ansi.Wrap(text, detailWidth, "/"), "\n") {
			row(what, state, line)
			what, state = "", ""
		}
		if bad && !same {
			writeRemedy(b, r.Remedy)
		}
	}
}

// remedyLines is how many lines of a remedy the table has at most.
const remedyLines = 4

func writeRemedy(b *strings.Builder, remedy string) {
	lines := strings.Split(remedy, "\n")
	if len(lines) > remedyLines {
		lines = append(lines[:remedyLines-1], "…    all of it is below")
	}
	for _, line := range lines {
		if line != "" {
			fmt.Fprintln(b, "    "+line)
		}
	}
}

// writeCommandsThatMend prints lines for a shell, and what has to be changed
// elsewhere.
func writeCommandsThatMend(b *strings.Builder, s doctor.Script) {
	if s.Empty() {
		return
	}
	for _, part := range []struct {
		title string
		lines []string
	}{
		{"# To mend it, as root:", s.Root},
		{"# To mend it, as yourself:", s.User},
	} {
		if len(part.lines) > 0 {
			fmt.Fprintf(b, "\n%s\n%s\n", part.title, strings.Join(part.lines, "\n"))
		}
	}
	if len(s.Other) > 0 {
		fmt.Fprint(b, "\n# What no line of shell on this machine mends:\n")
	}
	for _, other := range s.Other {
		fmt.Fprintf(b, "%s\n", other)
	}
}
