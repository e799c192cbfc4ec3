// Package flagdoc has what definitions of flags tell whoever describes or completes
// them: help, manual, completion.
package flagdoc

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Categories of flags that are known for docker's or buildah's sake alone. They
// are described together, by name.
const (
	Granted = "granted"
	Ignored = "ignored"
	Refused = "refused"
)

// CategoryOf is empty for a flag that is builder's own.
func CategoryOf(f cli.Flag) string {
	c, ok := f.(cli.CategorizableFlag)
	if !ok {
		return ""
	}
	return c.GetCategory()
}

// Dashed is a flag's name as users write it: -t, --tag.
func Dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// Placeholder gives the name of a flag's value, which stands in backquotes in
// its description, and the description without the quotes.
func Placeholder(usage string) (value, plain string) {
	before, rest, quoted := strings.Cut(usage, "`")
	if !quoted {
		return "", usage
	}
	value, after, _ := strings.Cut(rest, "`")
	return value, before + value + after
}
