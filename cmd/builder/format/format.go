// Package format prints lists and objects as docker does: in tables, by Go
// templates, and as JSON; and sizes, times and ids in docker's words.
//
// A list's rows are structs whose exported fields, and methods, a template
// names. The fields stand in alphabetical order, as docker's JSON has them:
//
//	type row struct{ ID, Repository, Tag string }
//
//	t, err := format.Parse(c.String("format"), "table {{.Repository}}\t{{.Tag}}\t{{.ID}}")
//	…
//	err = format.Print(t, w, map[string]string{"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG"}, rows)
package format

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/builder-oci/builder/internal/fault"
)

// The words that --format knows beside templates.
const (
	// Table is the default table, or begins the template of another one.
	Table = "table"
	// JSON is an object a line.
	JSON = "json"
)

// A Template is what --format says.
type Template struct {
	rows  *template.Template // nil for JSON
	table bool
}

// Parse reads the value of --format: "" and "table" mean def, "json" an object a
// line, "table T" a table of the columns of T, and all else is a template that is
// executed for each row. As in docker, \t and \n may be written out.
func Parse(text, def string) (*Template, error) {
	switch text = strings.TrimSpace(text); text {
	case "", Table:
		text = def
	case JSON:
		return &Template{}, nil
	}
	t := &Template{}
	text, t.table = cutTable(text)
	var err error
	t.rows, err = parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text))
	return t, err
}

// cutTable takes the word table off a template.
func cutTable(text string) (rest string, is bool) {
	rest, is = strings.CutPrefix(text, Table)
	if !is || rest != "" && strings.TrimLeft(rest, " \t") == rest && !strings.HasPrefix(rest, "{{") {
		return text, false
	}
	return strings.TrimSpace(rest), true
}

func parse(text string) (*template.Template, error) {
	t, err := template.New("").Funcs(functions()).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, malformed(err)
	}
	return t, nil
}

// malformed is the error of a template, with docker's exit code.
func malformed(err error) error {
	return &fault.Error{
		Err:    fmt.Errorf("template parsing error: %w", err),
		Remedy: "write a Go template, such as '{{.ID}}', or json",
		Code:   1,
	}
}

// IsTable tells whether Print makes a table, and so begins with headings.
func (t *Template) IsTable() bool { return t.table }

// Print writes rows by t, in large pieces. Headings are the table's, by the names
// of the row's fields.
func Print[T any](t *Template, w io.Writer, headings map[string]string, rows iter.Seq[T]) error {
	b := bufio.NewWriterSize(w, pieceSize)
	if err := printRows(t, b, headings, rows); err != nil {
		return err
	}
	return b.Flush()
}

// pieceSize is how much is written at once: a table of thousands of cells is
// otherwise as many calls of the system.
const pieceSize = 64 << 10

func printRows[T any](t *Template, w io.Writer, headings map[string]string, rows iter.Seq[T]) error {
	if t.rows == nil {
		return printJSON(w, rows)
	}
	if !t.table {
		return execute(t.rows, w, rows)
	}
	tw := newTable(w)
	heads, err := t.rows.Clone()
	if err != nil {
		return err
	}
	if err := line(heads.Funcs(headingFunctions()), tw, headingRow(headings)); err != nil {
		return err
	}
	if err := execute(t.rows, tw, rows); err != nil {
		return err
	}
	return tw.Flush()
}

func execute[T any](t *template.Template, w io.Writer, rows iter.Seq[T]) error {
	for row := range rows {
		if err := line(t, w, row); err != nil {
			return err
		}
	}
	return nil
}

// headingRow is the row of headings, by the names of fields.
type headingRow map[string]string

// Label is the heading of a label's column, as docker makes it: of the name's last
// part.
func (headingRow) Label(name string) string {
	return strings.NewReplacer("-", " ", "_", " ").Replace(name[strings.LastIndexByte(name, '.')+1:])
}

// line writes what t makes of data, whole or not at all.
func line(t *template.Template, w io.Writer, data any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return malformed(err)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, shown(b.String()))
	return err
}

func printJSON[T any](w io.Writer, rows iter.Seq[T]) error {
	for row := range rows {
		text, err := marshal(row)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}

// MarshalFields is for the MarshalJSON of rows and objects whose fields alone don't
// make their JSON: with <, > and & as they are.
func MarshalFields(v any) ([]byte, error) {
	text, err := marshal(v)
	return []byte(text), err
}

// marshal gives JSON on one line, with <, > and & as they are.
func marshal(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// The columns of docker's tables are so wide, and stand so far apart.
const (
	leastWidth = 10
	padding    = 3
)

func newTable(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, leastWidth, 1, padding, ' ', 0)
}
