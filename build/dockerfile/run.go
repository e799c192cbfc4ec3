package dockerfile

import (
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Script is a file that a RUN needs in its sandbox, read-only.
type Script struct {
	Path string // absolute, such as "/dev/pipes/EOF"
	Data []byte
	Mode uint32 // 0755
}

// DefaultShell is the SHELL of an image that sets none.
func DefaultShell() []string { return []string{"/bin/sh", "-c"} }

// RunArgs gives the argument vector of a RUN, here-documents put in. A single
// here-document that begins with #! is a program of its own: it comes back as
// the Script that the sandbox must show, nil otherwise. An empty shell stands
// for DefaultShell.
func RunArgs(cmd *instructions.RunCommand, shell []string) ([]string, *Script, error) { panic("not written yet") }

// CommandLine gives the argument vector of CMD and ENTRYPOINT: the shell form
// has the shell in front.
func CommandLine(cmd instructions.ShellDependantCmdLine, shell []string) []string { panic("not written yet") }

// Facts are what history tells of an instruction beyond its own words.
type Facts struct {
	// Args is the argument vector of RUN, CMD and ENTRYPOINT, shell included.
	Args []string
	// BuildArgs are the stage's ARGs up to a RUN as "KEY=value".
	BuildArgs []string
	// Dir is the resulting absolute directory of WORKDIR.
	Dir string
}

// CreatedBy gives history's created_by of an expanded instruction, as BuildKit
// writes it; "" for ONBUILD, which history doesn't mention.
func CreatedBy(cmd instructions.Command, f Facts) string { panic("not written yet") }
