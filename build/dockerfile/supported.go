package dockerfile

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Unsupported says whether an instruction uses what builder doesn't do yet,
// and what: "RUN --mount". Values that hold variables can be told only once
// they are expanded: ask again with what Expander.Command gave.
func Unsupported(cmd instructions.Command) (what string, bad bool) {
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		what = unsupportedRun(c)
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
		return faultAt(i.Place(file), insteadOf[what], "%s is not supported yet", what)
	}
	return nil
}

// insteadOf is what does much of what isn't supported.
var insteadOf = map[string]string{
	"RUN --device": "give every RUN the device file: builder bud --device /dev/NAME",
}

// CheckSupported gives the *fault.Error for a FROM that asks for another
// platform than this machine's; nil otherwise.
func (s *Stage) CheckSupported(file string) error {
	if s.Platform == "" || isThisMachine(s.Platform) {
		return nil
	}
	return faultAt(s.Place(file), "", "FROM --platform=%s is not supported yet: this machine is %s",
		s.Platform, platformName(thisMachine(v1.Platform{})))
}

// isThisMachine reads a platform as BuildKit does: the system or the
// architecture may be missing, and architectures have other names and a first
// variant.
func isThisMachine(platform string) bool {
	this := thisMachine(v1.Platform{})
	parts := strings.Split(strings.ToLower(platform), "/")
	arch := parts[0]
	if len(parts) > 1 {
		if parts[0] != this.OS {
			return false
		}
		arch = parts[1]
	} else if arch == this.OS {
		return true
	}
	arch = architecture(arch)
	variant := strings.Join(parts[min(2, len(parts)):], "/")
	return arch == this.Architecture && (variant == "" || variant == firstVariant[arch])
}

// architecture gives the usual one of an architecture's names.
func architecture(name string) string {
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return name
}

// firstVariant is the one that an architecture without a variant has.
var firstVariant = map[string]string{"amd64": "v1", "arm64": "v8", "arm": "v7"}

func unsupportedRun(c *instructions.RunCommand) string {
	if slices.Contains(c.FlagsUsed, "device") {
		return "RUN --device"
	}
	return ""
}

func unsupportedAdd(c *instructions.AddCommand) string {
	if i := slices.IndexFunc(c.SourcePaths, isSSH); i >= 0 {
		return "ADD of the ssh address " + c.SourcePaths[i]
	}
	return ""
}
