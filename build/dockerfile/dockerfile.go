// Package dockerfile turns the text of a Dockerfile into typed stages. Its
// grammar, shell expansion and instruction types are BuildKit's own; this room
// adds what a build asks of them: which stage stands upon which, which of them
// a target needs, what an instruction's words become in an environment, what
// history records of it, and errors that name file, line and remedy.
//
// Start at Parse, then File.Needed.
package dockerfile

import (
	"slices"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Scratch is the base name that stands for an empty image.
const Scratch = "scratch"

// Options are what the command line adds to the text.
type Options struct {
	// BuildArgs are the values of --build-arg by name. They win over the
	// defaults that ARG instructions give.
	BuildArgs map[string]string
	// Target is the name or index of the stage that is asked for, "" for the
	// last. Parse only puts it into TARGETSTAGE; see File.Needed.
	Target string
	// Contexts are the named contexts by their ContextName, with the name of the
	// stage that one is; "" for those that are none.
	Contexts map[string]string
	// ContextTime is the build context's, where that knows one; else zero.
	ContextTime time.Time
	// Platform is what the image is built for, in its usual form. The zero value
	// leaves it to the base images, which are this machine's if they can be.
	Platform v1.Platform
	// From takes the place of the first FROM's image; "" leaves that.
	From string
	// BuildPlatform is what the build runs on; its zero value is this machine.
	BuildPlatform v1.Platform
}

// File is a parsed Dockerfile. It is not changed after Parse and may be read
// from several goroutines.
type File struct {
	// Name is how errors call the file: "Dockerfile".
	Name string
	// Stages are all stages in the order of the text; never empty.
	Stages []*Stage
	// MetaArgs are the variables ("KEY=value") that FROM sees, and that an ARG
	// without a default takes its value from: the predefined platform ones,
	// then those declared before the first FROM.
	MetaArgs []string
	// Platform is what the image is built for, and AnyPlatform says that nobody
	// has named one.
	Platform    v1.Platform
	AnyPlatform bool
	// Escape is the escape character, '\\' unless a directive chose '`'.
	Escape rune

	buildArgs map[string]string
	contexts  map[string]string
	expanding sync.Mutex // of the mounts of RUN
	// src and predefined (the platform variables) are kept for Lint, and check
	// is what it was told.
	src        []byte
	from       string // in place of the first FROM's image
	predefined []string
	check      linter.Config
	epoch      *time.Time
}

// Stage is one FROM with the instructions that follow it.
type Stage struct {
	// Index is the stage's place in the file, from zero.
	Index int
	// Name is what stands behind AS in lower case, or "".
	Name string
	// Base is what stands behind FROM, after expansion: an image's name,
	// Scratch, the ContextName of a named context, or the name of an earlier
	// stage.
	Base string
	// BaseStage is the index of the stage that Base names, or -1.
	BaseStage int
	// Replaced says that a named context stands in the stage's place, which has
	// no instructions then.
	Replaced bool
	// Platform is what the base is wanted for: FROM --platform's value, or what
	// the image is built for. A stage that stands upon another has that one's.
	Platform v1.Platform
	// AnyPlatform says that nobody has named a platform: where there is no base
	// image for this machine's, one for another will do.
	AnyPlatform bool
	// Line is the number of FROM's line, from one.
	Line int
	// Original is FROM's source text on one line.
	Original string
	// Instructions are the stage's own, FROM not counted.
	Instructions []Instruction
	// Needs are the indexes of the stages that this one reads (its base, and
	// those that COPY and RUN --mount name), ascending and without repetition.
	Needs []int
}

// TotalSteps is the number of steps of the stage, FROM included.
func (s *Stage) TotalSteps() int { return 1 + len(s.Instructions) }

// Place names the stage's FROM for errors: "Dockerfile:1: FROM debian".
func (s *Stage) Place(file string) string { return place(file, s.Line, s.Original) }

// Instruction is one instruction of a stage.
type Instruction struct {
	// Line and EndLine are the first and last line in the file, from one.
	Line, EndLine int
	// Original is the source text on one line: continuation lines are joined,
	// here-documents left out.
	Original string
	// Cmd is BuildKit's type of the instruction, not expanded. It is shared:
	// Expander.Command gives an expanded copy.
	Cmd instructions.Command
	// Heredocs are the here-documents of RUN, COPY and ADD, not expanded.
	Heredocs []parser.Heredoc
	// FromStage is the index of the stage that COPY --from names, or -1.
	FromStage int
	// FromImage is what COPY --from names where that is no stage, or "": a named
	// context or an image.
	FromImage string
	// MountStages has, for each from of RUN --mount, the index of the stage that
	// it names, or -1 where that is an image.
	MountStages map[string]int
	// Trigger says that the instruction comes from an ONBUILD of the base.
	Trigger bool
}

// Place names the instruction for errors: "Dockerfile:3: RUN make", its text
// shortened to one readable line.
func (i Instruction) Place(file string) string { return place(file, i.Line, i.Original) }

// MetaArg gives the value that a variable has outside the stages.
func (f *File) MetaArg(name string) (string, bool) { return lookup(f.MetaArgs, name) }

// Last is the stage that is built when no target is named.
func (f *File) Last() *Stage { return f.Stages[len(f.Stages)-1] }

// names lists the stages' names for error messages.
func (f *File) names() []string {
	var names []string
	for _, s := range f.Stages {
		if s.Name != "" && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}
