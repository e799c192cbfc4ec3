package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/builder-oci/builder/internal/fault"
)

// Objects prints what a command such as inspect finds, as docker does: by a
// template each, or all of them as one JSON array. Whether it goes well or not,
// Flush comes after the last Add.
type Objects struct {
	template *template.Template // nil for JSON
	indent   string
	raw      [][]byte
	text     bytes.Buffer
}

// codeUnparsed is the exit code that docker's inspect has for a bad template.
const codeUnparsed = 64

// NewObjects reads the value of --format: "" is an indented array, "json" one on a
// line.
func NewObjects(text string) (*Objects, error) {
	switch text {
	case "":
		return &Objects{indent: strings.Repeat(" ", 4)}, nil
	case JSON:
		return &Objects{}, nil
	}
	t, err := parse(text)
	if err != nil {
		return nil, &fault.Error{Err: err, Remedy: fault.Remedy(err), Code: codeUnparsed}
	}
	return &Objects{template: t}, nil
}

// Add takes an object. A template names the fields of its type, as {{.ID}} and
// {{.Config.Env}}, or else the members of its JSON, as {{.Id}}. A map that lacks a
// key gives docker's <no value>; a member that isn't there is an error.
func (o *Objects) Add(object any) error {
	text, err := marshal(object)
	if err != nil {
		return err
	}
	if o.template == nil {
		o.raw = append(o.raw, []byte(text))
		return nil
	}
	var b bytes.Buffer
	if o.template.Option("missingkey=default").Execute(&b, object) != nil {
		b.Reset()
		members := json.NewDecoder(strings.NewReader(text))
		members.UseNumber()
		var raw any
		if err := members.Decode(&raw); err != nil {
			return err
		}
		if err := o.template.Option("missingkey=error").Execute(&b, raw); err != nil {
			return malformed(err)
		}
	}
	o.text.Write(b.Bytes())
	o.text.WriteByte('\n')
	return nil
}

// Flush writes what was added; of nothing an empty array, or an empty line.
func (o *Objects) Flush(w io.Writer) error {
	if o.template != nil {
		if o.text.Len() == 0 {
			o.text.WriteByte('\n')
		}
		_, err := io.Copy(w, &o.text)
		return err
	}
	if len(o.raw) == 0 {
		_, err := fmt.Fprintln(w, "[]")
		return err
	}
	text := slices.Concat([]byte("["), bytes.Join(o.raw, []byte(",")), []byte("]"))
	var b bytes.Buffer
	var err error
	if o.indent == "" {
		err = json.Compact(&b, text)
	} else {
		err = json.Indent(&b, text, "", o.indent)
	}
	b.WriteByte('\n')
	_, writing := w.Write(b.Bytes())
	return errors.Join(err, writing)
}
