package dockerfile

import (
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Mounts gives the mounts of a RUN with their words expanded. What they say is
// checked only then, since every value but that of from may hold a variable.
func (f *File) Mounts(cmd *instructions.RunCommand, env []string) ([]*instructions.Mount, error) {
	x, envs := f.Expander(), variables(env)
	// BuildKit's parser keeps what it expanded in the command itself, which all
	// walks of a stage share.
	f.expanding.Lock()
	defer f.expanding.Unlock()
	err := cmd.Expand(func(w string) (string, error) { return expandWord(x.lex(), w, envs) })
	if err != nil {
		return nil, mountError(err)
	}
	return instructions.GetMounts(cmd), nil
}

// mountWord is a --mount in an instruction's text, quotes aside.
var mountWord = regexp.MustCompile(`--mount=\S*`)

// CheckMounts refuses a RUN whose mounts can't be read, as far as that can be
// told before the stage has come to it: where they hold no variable. Other
// instructions are none of its business.
func (f *File) CheckMounts(i Instruction) error {
	run, ok := i.Cmd.(*instructions.RunCommand)
	if !ok || slices.ContainsFunc(mountWord.FindAllString(i.Original, -1), hasVariable) {
		return nil
	}
	if _, err := f.Mounts(run, nil); err != nil {
		return faultAt(i.Place(f.Name), parseRemedy(err), "%w", err)
	}
	return nil
}

func hasVariable(word string) bool { return strings.Contains(word, "$") }

// Reads gives the indexes of the stages that the instruction reads.
func (i Instruction) Reads() []int {
	var stages []int
	if i.FromStage >= 0 {
		stages = append(stages, i.FromStage)
	}
	for _, stage := range i.MountStages {
		if stage >= 0 {
			stages = append(stages, stage)
		}
	}
	return stages
}

// resolveMounts sets MountStages where RUN --mount has from.
func (f *File) resolveMounts(s *Stage, ins *Instruction) error {
	run, ok := ins.Cmd.(*instructions.RunCommand)
	if !ok {
		return nil
	}
	for _, m := range instructions.GetMounts(run) {
		if m.From == "" || m.From == Scratch {
			continue
		}
		stage, err := f.source(s, ins, m.From)
		if err != nil {
			return err
		}
		if ins.MountStages == nil {
			ins.MountStages = map[string]int{}
		}
		ins.MountStages[m.From] = stage
	}
	return nil
}
