package format

import (
	"strings"
	"text/template"
	"unicode"
)

// functions are those that docker's templates have beside Go's own.
func functions() template.FuncMap {
	return template.FuncMap{
		"json":     marshal,
		"join":     strings.Join,
		"lower":    strings.ToLower,
		"pad":      pad,
		"split":    strings.Split,
		"title":    title,
		"truncate": truncate,
		"upper":    strings.ToUpper,
	}
}

// headingFunctions leave a heading as it is, where the row's field is changed.
func headingFunctions() template.FuncMap {
	same := func(heading string, _ ...any) string { return heading }
	return template.FuncMap{
		"json": same, "lower": same, "pad": same, "title": same, "upper": same,
		"join":     func(heading any, _ string) any { return heading },
		"split":    same,
		"truncate": func(heading string, _ int) string { return heading },
	}
}

// pad puts so many spaces before and after a text that isn't empty.
func pad(text string, before, after int) string {
	if text == "" {
		return text
	}
	return strings.Repeat(" ", max(0, before)) + text + strings.Repeat(" ", max(0, after))
}

// title makes each word's first letter a capital.
func title(text string) string {
	start := true
	return strings.Map(func(r rune) rune {
		first := start
		start = unicode.IsSpace(r)
		if first {
			return unicode.ToTitle(r)
		}
		return r
	}, text)
}

// truncate cuts a text to so many bytes, as docker does.
func truncate(text string, length int) string {
	if length < 0 || len(text) <= length {
		return text
	}
	return text[:length]
}
