package dockerfile

import "github.com/moby/buildkit/frontend/dockerfile/instructions"

// Parse reads the text of a Dockerfile. name is how errors call it. Errors are
// *fault.Error with the place in the text.
func Parse(name string, src []byte, o Options) (*File, error) { panic("not written yet") }

// Needed gives the stages that target needs, itself last, each after those
// that it reads. target is a stage's name (case doesn't matter) or index; ""
// is the last stage. An unknown target is a *fault.Error that lists the names.
func (f *File) Needed(target string) ([]*Stage, error) { panic("not written yet") }

// ParseTrigger parses the text of one ONBUILD trigger, which may not be FROM,
// MAINTAINER or ONBUILD. Its --from isn't looked up; see File.Triggers.
func ParseTrigger(text string) ([]Instruction, error) { panic("not written yet") }

// Triggers parses the ONBUILD triggers of a stage's base. They stand at FROM's
// line, are marked as triggers, and COPY --from is looked up among the stages.
func (f *File) Triggers(s *Stage, texts []string) ([]Instruction, error) { panic("not written yet") }

// Unsupported says whether an instruction uses what builder doesn't do yet,
// and what: "RUN --mount".
func Unsupported(cmd instructions.Command) (what string, bad bool) { panic("not written yet") }

// CheckSupported gives the *fault.Error for what Unsupported finds, or nil.
func (i Instruction) CheckSupported(file string) error { panic("not written yet") }

func place(file string, line int, text string) string { panic("not written yet") }
func lookup(env []string, name string) (string, bool) { panic("not written yet") }
