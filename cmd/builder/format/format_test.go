package format

import (
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

func TestObjectsArePrinted(t *testing.T) {
	objects := []any{map[string]any{"Id": "a<b"}, map[string]any{"Id": "c"}}
	for text, want := range map[string]string{
		"":        "[\n    {\n        \"Id\": \"a<b\"\n    },\n    {\n        \"Id\": \"c\"\n    }\n]\n",
		"json":    "{\"Id\":\"a<b\"}\n{\"Id\":\"c\"}\n",
		"{{.Id}}": "a<b\nc\n",
	} {
		var out strings.Builder
		if err := Objects(&out, text, objects); err != nil || out.String() != want {
			t.Errorf("%q prints\n%s(%v), not\n%s", text, &out, err, want)
		}
	}
	if err := Objects(&strings.Builder{}, "{{.Missing}}", objects); err == nil {
		t.Error("a missing member is printed")
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
