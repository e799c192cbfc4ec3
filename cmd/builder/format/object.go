package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Objects prints what a command such as inspect has found, each by the template in
// text, on lines of their own, or all of them as an indented JSON array where text
// is "" or "json". Templates name the members of the objects' JSON, as
// {{.Config.Env}}; one that an object lacks is an error.
func Objects(w io.Writer, text string, objects []any) error {
	switch text {
	case "":
		return indented(w, objects)
	case JSON:
		text = "{{json .}}"
	}
	t, err := parse(text)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := line(t, w, object); err != nil {
			return err
		}
	}
	return nil
}

// indented writes JSON as docker's inspect does, with <, > and & as they are.
func indented(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", strings.Repeat(" ", 4))
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, b.String())
	return err
}
