package dockerfile

import (
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Unsupported says whether an instruction uses what builder doesn't do yet,
// and what: "RUN --mount". Values that hold variables can be told only once
// they are expanded: ask again with what Expander.Command gave.
func Unsupported(cmd instructions.Command) (what string, bad bool) {
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		what = unsupportedRun(c)
	case *instructions.CopyCommand:
		what = unsupportedCopy(c)
	case *instructions.AddCommand:
		what = unsupportedAdd(c)
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
		return faultAt(i.Place(file), "", "%s is not supported yet", what)
	}
	return nil
}

func unsupportedRun(c *instructions.RunCommand) string {
	switch {
	case slices.Contains(c.FlagsUsed, "mount"):
		return "RUN --mount"
	case instructions.GetSecurity(c) != instructions.SecuritySandbox:
		return "RUN --security=" + instructions.GetSecurity(c)
	case slices.Contains(c.FlagsUsed, "device"):
		return "RUN --device"
	}
	return ""
}

func unsupportedCopy(c *instructions.CopyCommand) string {
	switch {
	case c.Parents:
		return "COPY --parents"
	case c.Link:
		return "COPY --link"
	case len(c.ExcludePatterns) > 0:
		return "COPY --exclude"
	case isSymbolicMode(c.Chmod):
		return "COPY --chmod with the symbolic mode " + c.Chmod
	}
	return ""
}

func unsupportedAdd(c *instructions.AddCommand) string {
	remote := slices.IndexFunc(c.SourcePaths, isRemote)
	switch {
	case c.Link:
		return "ADD --link"
	case len(c.ExcludePatterns) > 0:
		return "ADD --exclude"
	case c.Checksum != "":
		return "ADD --checksum"
	case c.KeepGitDir != nil:
		return "ADD --keep-git-dir"
	case c.Unpack != nil:
		return "ADD --unpack"
	case isSymbolicMode(c.Chmod):
		return "ADD --chmod with the symbolic mode " + c.Chmod
	case remote >= 0:
		return "ADD of the address " + c.SourcePaths[remote]
	}
	return ""
}
