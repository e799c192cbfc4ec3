package dockerfile

import (
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Unsupported says whether an instruction uses what builder doesn't do yet,
// and what: "RUN --mount". Values that hold variables can be told only once
// they are expanded: ask again with what Expander.Command gave.
func Unsupported(cmd instructions.Command) (what string, bad bool) {
	if c, ok := cmd.(*instructions.RunCommand); ok {
		what = unsupportedRun(c)
	}
	return what, what != ""
}

// CheckSupported gives the *fault.Error for what Unsupported finds in the
// instruction, or in its expanded form where that is given; nil otherwise.
func (i Instruction) CheckSupported(file string, expanded instructions.Command) error {
	if expanded == nil {
		expanded = i.Cmd
	}
	if what, bad := Unsupported(expanded); bad {
		return faultAt(i.Place(file), insteadOf[what], "%s is not supported yet", what)
	}
	return nil
}

// insteadOf is what does much of what isn't supported.
var insteadOf = map[string]string{
	"RUN --device": "give every RUN the device file: builder bud --device /dev/NAME",
}

func unsupportedRun(c *instructions.RunCommand) string {
	if slices.Contains(c.FlagsUsed, "device") {
		return "RUN --device"
	}
	return ""
}
