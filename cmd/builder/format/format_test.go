package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type row struct{ ID, Repository, Size string }

func (row) Label(key string) string { return "label " + key }

func TestRowsArePrintedByTemplate(t *testing.T) {
	rows := []row{{"0123456789ab", "nginx", "1kB"}, {"ba9876543210", "<none>", "2kB"}}
	headings := map[string]string{"ID": "IMAGE ID", "Repository": "REPOSITORY", "Size": "SIZE"}
	const def = "table {{.Repository}}\t{{.ID}}"
	for _, test := range []struct{ text, want string }{
		{"", "REPOSITORY   IMAGE ID\nnginx        0123456789ab\n<none>       ba9876543210\n"},
		{"table", "REPOSITORY   IMAGE ID\nnginx        0123456789ab\n<none>       ba9876543210\n"},
		{`table {{.ID}}\t{{upper .Size}}`, "IMAGE ID       SIZE\n0123456789ab   1KB\nba9876543210   2KB\n"},
		{"{{.ID}}: {{.Repository}}", "0123456789ab: nginx\nba9876543210: <none>\n"},
		{`{{truncate .ID 3}}\t{{.Label "x"}}`, "012\tlabel x\nba9\tlabel x\n"},
		{"{{json .Repository}}", "\"nginx\"\n\"<none>\"\n"},
		{"json", `{"ID":"0123456789ab","Repository":"nginx","Size":"1kB"}` + "\n" +
			`{"ID":"ba9876543210","Repository":"<none>","Size":"2kB"}` + "\n"},
		{"{{title .Repository}}{{pad .Size 1 2}}|", "Nginx 1kB  |\n<none> 2kB  |\n"},
		{"tables", "tables\ntables\n"},
	} {
		parsed, err := Parse(test.text, def)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		var out strings.Builder
		if err := Print(parsed, &out, headings, slices.Values(rows)); err != nil || out.String() != test.want {
			t.Errorf("%q prints\n%s(%v), not\n%s", test.text, &out, err, test.want)
		}
	}
}

func TestABadTemplateIsAnError(t *testing.T) {
	if _, err := Parse("{{.ID", "x"); err == nil || !strings.Contains(err.Error(), "template parsing error") {
		t.Errorf("an open action: %v", err)
	}
	parsed, err := Parse("{{.Nothing}}", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := Print(parsed, &strings.Builder{}, nil, slices.Values([]row{{}})); err == nil || !strings.Contains(err.Error(), "Nothing") {
		t.Errorf("a field that isn't there: %v", err)
	}
}

// object is named by its field as well as by its JSON.
type object struct {
	ID     string `json:"Id"`
	Labels map[string]string
	Size   int64
}

func TestObjectsArePrinted(t *testing.T) {
	objects := []any{object{ID: "a<b", Size: 12345678}, object{ID: "c", Labels: map[string]string{"x": "y"}}}
	for text, want := range map[string]string{
		"": `[
    {
        "Id": "a<b",
        "Labels": null,
        "Size": 12345678
    },
    {
        "Id": "c",
        "Labels": {
            "x": "y"
        },
        "Size": 0
    }
]
`,
		"json":                          `[{"Id":"a<b","Labels":null,"Size":12345678},{"Id":"c","Labels":{"x":"y"},"Size":0}]` + "\n",
		"{{.Id}}":                       "a<b\nc\n",
		"{{.ID}} {{.Size}}":             "a<b 12345678\nc 0\n",
		"{{.Id}} {{.Size}}":             "a<b 12345678\nc 0\n",
		"{{.Labels.x}}":                 "<no value>\ny\n",
		`{{index .Labels "x"}}`:         "\ny\n",
		"{{json .Labels}}":              "null\n{\"x\":\"y\"}\n",
		"{{range .Labels}}{{.}}{{end}}": "\ny\n",
	} {
		out, err := printObjects(text, objects)
		if err != nil || out != want {
			t.Errorf("%q prints\n%s(%v), not\n%s", text, out, err, want)
		}
	}
	if out, err := printObjects("{{.Missing}}", objects); err == nil || !strings.Contains(err.Error(), `map has no entry for key "Missing"`) || out != "\n" {
		t.Errorf("a missing member prints %q: %v", out, err)
	}
	if out, err := printObjects("", nil); err != nil || out != "[]\n" {
		t.Errorf("nothing prints %q: %v", out, err)
	}
}

func printObjects(text string, list []any) (string, error) {
	objects, err := NewObjects(text)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, o := range list {
		errs = append(errs, objects.Add(o))
	}
	var out strings.Builder
	errs = append(errs, objects.Flush(&out))
	return out.String(), errors.Join(errs...)
}

func TestRowsAreAsATabwriterHasThem(t *testing.T) {
	rows := [][]string{
		{"REPOSITORY", "TAG", "SIZE"},
		{"nginx", "latest", "1kB"},
		{"quay.io/team/application", "ünïcödé-longer", "2kB"},
		{"", "", ""},
		{"alone"},
		{"two", "cells"},
	}
	var got, want strings.Builder
	if err := Rows(&got, rows[:4]); err != nil {
		t.Fatal(err)
	}
	tw := newTable(&want)
	for _, row := range rows[:4] {
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Flush(); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("printed:\n%s\nnot:\n%s", &got, &want)
	}
	got.Reset()
	if err := Rows(&got, [][]string{{"a\tb\nc", "d"}, {}, rows[4], rows[5]}); err != nil || got.String() != "a b c     d\n\nalone\ntwo       cells\n" {
		t.Errorf("printed %q, %v", &got, err)
	}
}

func TestNothingSteersTheTerminal(t *testing.T) {
	const evil, harmless = "a\x1b[2Jb\u009bc\u202ed\x00e\rf", "a?[2Jb?c?d?e?f"
	var out strings.Builder
	if err := Rows(&out, [][]string{{"NAME"}, {evil}}); err != nil || !strings.Contains(out.String(), harmless) {
		t.Errorf("Rows: %q, %v", &out, err)
	}
	for _, text := range []string{"{{.ID}}", "table {{.ID}}\t{{.Size}}"} {
		parsed, err := Parse(text, "")
		if err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := Print(parsed, &out, map[string]string{"ID": "ID", "Size": "SIZE"}, slices.Values([]row{{ID: evil}})); err != nil || !strings.Contains(out.String(), harmless) {
			t.Errorf("%s: %q, %v", text, &out, err)
		}
	}
}
