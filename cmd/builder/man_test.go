package main

import (
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/cmd/builder/manual"
)

// eachCommand calls do for every command that users see, with its name as they
// write it.
func eachCommand(commands []*cli.Command, parent string, do func(c *cli.Command, name string)) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		name := strings.TrimSpace(parent + " " + c.Name)
		do(c, name)
		eachCommand(c.Subcommands, name, do)
	}
}

func TestEveryCommandHasItsPage(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	pages := manual.Write(app, time.Unix(0, 0))
	eachCommand(app.Commands, "", func(c *cli.Command, name string) {
		file := manual.File(append([]string{programName}, strings.Fields(name)...)...)
		if page, second := pages.Second[file]; second {
			file = page
		}
		text := pages.Text[file]
		if text == "" {
			t.Errorf("%s has no page", name)
		}
		for _, f := range c.Flags {
			for _, flag := range f.Names() {
				if !strings.Contains(text, strings.ReplaceAll(flagdoc.Dashed(flag), "-", `\-`)) {
					t.Errorf("%s lacks %s", file, flagdoc.Dashed(flag))
				}
			}
			if doc, ok := f.(cli.DocGenerationFlag); ok && doc.GetUsage() == "" && flagdoc.CategoryOf(f) == "" {
				t.Errorf("%s: nothing says what --%s is for: give it a Usage or a category", name, f.Names()[0])
			}
		}
		if !strings.Contains(text, `.SH "EXAMPLES"`) && len(c.Subcommands) == 0 {
			t.Errorf("%s has no example: give it one in manual.Texts", file)
		}
	})
}

func TestManualIsOfCommandsThatExist(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	names := []string{programName}
	eachCommand(app.Commands, "", func(_ *cli.Command, name string) { names = append(names, name) })
	names = append(names, executorName) // hidden, and called by a name of its own
	for name, text := range manual.Texts() {
		if !slices.Contains(names, name) {
			t.Errorf("manual.Texts has one for %q, which is no command", name)
		}
		for _, e := range text.Examples {
			for line := range strings.SplitSeq(strings.ReplaceAll(e.Text, "&&", "|"), "|") {
				line, _, _ = strings.Cut(line, " > ")
				if words := strings.Fields(line); len(words) > 0 && words[0] == programName {
					if _, err := canonical(app, words); err != nil {
						t.Errorf("%s: the example %q: %v", name, e.Text, err)
					}
				}
			}
		}
	}
}

func TestManualIsTheSameForTheSameSources(t *testing.T) {
	t.Setenv(epochEnv, "86400")
	date, err := manualDate()
	if err != nil {
		t.Fatal(err)
	}
	text := manual.Write(newApp(io.Discard, io.Discard), date).Text[manual.File(programName, "pull")]
	if head, _, _ := strings.Cut(text, "\n"); !strings.HasPrefix(head, `.TH "BUILDER-PULL" 1 "1970-01-02" `) {
		t.Errorf("the page begins %s", head)
	}
}

func TestPagesAreWellFormed(t *testing.T) {
	dir := t.TempDir()
	if err := manual.Write(newApp(io.Discard, io.Discard), time.Unix(0, 0)).Save(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mandoc", append([]string{"-Tlint", "-Wstyle"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}
