package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/cmd/builder/manual"
)

// everyCommand heads the section of docs/commands.md about global flags.
const everyCommand = "Those of every command"

// comparisons are what docs/commands.md says of flags, by command and flag.
func comparisons(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`-[^`]*`")
	all := map[string]map[string]string{}
	var section map[string]string
	name := ""
	for line := range strings.Lines(string(text)) {
		if heading, is := strings.CutPrefix(line, "## "); is {
			name, section = strings.TrimSpace(heading), map[string]string{}
			all[name] = section
		}
		cells := strings.Split(strings.ReplaceAll(line, `\|`, ""), " | ")
		if !strings.HasPrefix(line, "| `-") || len(cells) < 2 {
			continue
		}
		for _, flag := range quoted.FindAllString(cells[0], -1) {
			if _, again := section[strings.Trim(flag, "`")]; again {
				t.Errorf("docs/commands.md has %s of %s twice", flag, name)
			}
			section[strings.Trim(flag, "`")] = strings.TrimSpace(cells[1])
		}
	}
	return all
}

func TestEveryOptionStandsBesideDockers(t *testing.T) {
	told := comparisons(t)
	app := newApp(io.Discard, io.Discard)
	checkComparison(t, everyCommand, app.Flags, told[everyCommand])
	names := []string{everyCommand}
	eachCommand(app.Commands, "", func(c *cli.Command, name string) {
		path := append([]string{programName}, strings.Fields(name)...)
		if manual.FirstName(app, c, path[:len(path)-1]) == nil {
			names = append(names, name)
			checkComparison(t, name, c.Flags, told[name])
		}
	})
	for name := range told {
		if !slices.Contains(names, name) {
			t.Errorf("docs/commands.md tells of %s, which is no command", name)
		}
	}
}

// checkComparison holds what is told of a command's flags against them.
func checkComparison(t *testing.T, command string, flags []cli.Flag, told map[string]string) {
	t.Helper()
	var defined []string
	for _, f := range flags {
		for _, name := range f.Names() {
			flag := flagdoc.Dashed(name)
			defined = append(defined, flag)
			switch word := told[flag]; {
			case word == "":
				t.Errorf("docs/commands.md lacks %s of %s", flag, command)
			case word == "not taken", (word == "refused") != (flagdoc.CategoryOf(f) == flagdoc.Refused):
				t.Errorf("docs/commands.md says of %s of %s: %s", flag, command, word)
			case !slices.Contains([]string{"kept", "differs", "refused", "no effect", "buildah's", "podman's", "own"}, word):
				t.Errorf("docs/commands.md says of %s of %s %q, which isn't among its words", flag, command, word)
			}
		}
	}
	for flag, word := range told {
		if word != "not taken" && !slices.Contains(defined, flag) {
			t.Errorf("docs/commands.md says of %s of %s: %s. There is no such flag", flag, command, word)
		}
	}
}
