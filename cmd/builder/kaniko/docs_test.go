package kaniko

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

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
