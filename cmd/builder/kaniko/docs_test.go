package kaniko

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The pods of examples/kubernetes are started with flags that are there.
func TestExamplesAreUnderstood(t *testing.T) {
	files, err := filepath.Glob("../../../examples/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no example", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		args := regexp.MustCompile(`(?m)^ +- (--.*)$`).FindAllStringSubmatch(string(text), -1)
		var words []string
		for _, arg := range args {
			words = append(words, arg[1])
		}
		plan, err := read(t, nil, words...)
		if err != nil || len(plan.Destinations) != 1 || !plan.Push {
			t.Errorf("%s: %q gives %+v, %v", file, words, plan, err)
		}
	}
}

// docs/kaniko.md tells of every flag what comes of it.
func TestEveryFlagIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/kaniko.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]Does{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `-") || len(cells) < 3 {
			continue
		}
		for _, name := range regexp.MustCompile("`-[^`]*`").FindAllString(cells[0], -1) {
			name = strings.TrimLeft(strings.Trim(name, "`"), "-")
			if told[name] != "" {
				t.Errorf("docs/kaniko.md has %s twice", name)
			}
			told[name] = Does(strings.TrimSpace(cells[1]))
		}
	}
	known := map[string]bool{}
	for _, f := range Table() {
		for _, name := range []string{f.Name, f.Short} {
			if name == "" {
				continue
			}
			known[name] = true
			if told[name] != f.Does {
				t.Errorf("docs/kaniko.md says of %s %q, and the table %q", name, told[name], f.Does)
			}
		}
		if (f.Does == NoEffect || f.Does == Refused) == (f.Why == "") {
			t.Errorf("%s: a reason is for flags without effect, and those refused", f.Name)
		}
	}
	for name := range told {
		if !known[name] {
			t.Errorf("docs/kaniko.md has %s, which isn't in the table", name)
		}
	}
}
