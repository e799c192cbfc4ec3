package dockerfile

import (
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Expander replaces $variables and quotes in words as docker does. It holds no
// environment and may be used from several goroutines.
type Expander struct {
	escape rune
}

// Expander gives the expander for the file's escape character.
func (f *File) Expander() Expander { return Expander{escape: f.Escape} }

// Word expands a word to one word; blanks in values don't split it. The
// environment is a list of "KEY=value", the last of equal keys wins.
func (x Expander) Word(word string, env []string) (string, error) { panic("not written yet") }

// Words expands a word and splits the result at blanks that aren't quoted.
func (x Expander) Words(word string, env []string) ([]string, error) { panic("not written yet") }

// Command gives the instruction with its words expanded: those of ENV, LABEL,
// ADD, COPY, WORKDIR, USER, VOLUME, STOPSIGNAL and EXPOSE, and the unquoted
// here-documents of COPY and ADD. RUN, CMD, ENTRYPOINT, HEALTHCHECK, SHELL,
// ONBUILD and MAINTAINER come back as they are: their variables are the
// shell's business. ARG too; see File.Args. cmd itself isn't changed.
func (x Expander) Command(cmd instructions.Command, env []string) (instructions.Command, error) { panic("not written yet") }

// Arg is one variable that an ARG instruction declares.
type Arg struct {
	Name  string
	Value string
	// Set says that there is a value: from --build-arg, the instruction's
	// default, or a declaration before the first FROM, in this order.
	Set bool
}

// Args evaluates an ARG instruction inside a stage. env is what its defaults
// are expanded with.
func (f *File) Args(cmd *instructions.ArgCommand, env []string) ([]Arg, error) { panic("not written yet") }

// ExposedPorts gives the ports of an expanded EXPOSE as an image config has
// them: "80/tcp", ranges as single ports, in the order of the text.
func ExposedPorts(cmd *instructions.ExposeCommand) ([]string, error) { panic("not written yet") }
