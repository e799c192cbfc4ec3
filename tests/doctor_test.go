package tests

import (
	"encoding/json"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// doctorReport is what `builder doctor --format json` prints; nothing else may be in
// it.
type doctorReport struct {
	Verdict string         `json:"verdict"`
	Place   map[string]any `json:"place"`
	Checks  []struct {
		Check   string `json:"check"`
		What    string `json:"what"`
		State   string `json:"state"`
		Found   string `json:"found"`
		Matters string `json:"matters"`
		Remedy  string `json:"remedy"`
	} `json:"checks"`
	Commands struct{ Root, User, Other []string } `json:"commands"`
}

// diagnosed FILE CHECK STATE [ERROR] looks into a report of doctor's: the check has
// that state, and where the output of a command that failed or went on is given, it
// has the same words and the same remedy. "verdict" is a check, too.
func diagnosed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: diagnosed FILE CHECK STATE [ERROR]")
	}
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	decoder.DisallowUnknownFields()
	var report doctorReport
	ts.Check(decoder.Decode(&report))
	if args[1] == "verdict" {
		if report.Verdict != args[2] {
			ts.Fatalf("the verdict is %s, not %s", report.Verdict, args[2])
		}
		return
	}
	for _, c := range report.Checks {
		if c.Check != args[1] {
			continue
		}
		if c.State != args[2] || c.What == "" || c.Matters == "" {
			ts.Fatalf("%s is %s, not %s: %+v", c.Check, c.State, args[2], c)
		}
		if len(args) > 3 {
			said := squeezed(ts.ReadFile(args[3]))
			for _, words := range []string{c.Found, c.Remedy} {
				if words == "" || !strings.Contains(said, squeezed(words)) {
					ts.Fatalf("doctor says %q, the command\n%s", words, said)
				}
			}
		}
		return
	}
	ts.Fatalf("doctor hasn't looked at %s", args[1])
}

// squeezed is text without its indentation.
func squeezed(text string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}
