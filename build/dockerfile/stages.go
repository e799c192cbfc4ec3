package dockerfile

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
)

// Needed gives the stages that target needs, itself last, each after those
// that it reads. target is a stage's name (case doesn't matter) or index; ""
// is the last stage. An unknown target is a *fault.Error that lists the names.
func (f *File) Needed(target string) ([]*Stage, error) { return f.NeededWith(target, nil) }

// NeededWith is Needed where stages, by their index, read others besides their
// Needs, as ONBUILD triggers may.
func (f *File) NeededWith(target string, also map[int][]int) ([]*Stage, error) {
	last, err := f.target(target)
	if err != nil {
		return nil, err
	}
	needed := make([]bool, last.Index+1)
	needed[last.Index] = true
	var stages []*Stage
	// A stage reads earlier ones only, so one pass backwards finds them all.
	for i := last.Index; i >= 0; i-- {
		if !needed[i] {
			continue
		}
		stages = append(stages, f.Stages[i])
		for _, n := range slices.Concat(f.Stages[i].Needs, also[i]) {
			needed[n] = true
		}
	}
	slices.Reverse(stages)
	return stages, nil
}

// target finds the stage that --target names.
func (f *File) target(name string) (*Stage, error) {
	if name == "" {
		return f.Last(), nil
	}
	if i, ok := f.stageNamed(name, len(f.Stages)); ok {
		return f.Stages[i], nil
	}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(f.Stages) {
		return f.Stages[i], nil
	}
	names := f.names()
	remedy := "the file's stages have no names: use an index from 0 to " + strconv.Itoa(len(f.Stages)-1)
	if len(names) > 0 {
		remedy = "its stages are: " + strings.Join(names, ", ")
	}
	if meant, ok := suggest.Search(name, names, false); ok {
		remedy = "did you mean " + meant + "? " + remedy
	}
	return nil, faultAt(f.Name, remedy, "there is no stage %q to build", name)
}

// Indexes gives the stages that are called by their names or numbers.
func (f *File) Indexes(names []string) (map[int]bool, error) {
	indexes := map[int]bool{}
	for _, name := range names {
		s, err := f.target(name)
		if err != nil {
			return nil, err
		}
		indexes[s.Index] = true
	}
	return indexes, nil
}

// stageNamed finds the last stage of that name before the given index.
func (f *File) stageNamed(name string, before int) (int, bool) {
	for i := min(before, len(f.Stages)) - 1; i >= 0; i-- {
		if f.Stages[i].Name != "" && strings.EqualFold(f.Stages[i].Name, name) {
			return i, true
		}
	}
	return -1, false
}

// StageMeant is a remedy where a name that is no stage's for its reader can't be
// had as an image either: there is a stage of that name or a similar one. It is
// "" where there is none.
func (f *File) StageMeant(name string) string {
	if i, ok := f.stageNamed(name, len(f.Stages)); ok {
		return "the stage " + f.Stages[i].Name + ", at line " + strconv.Itoa(f.Stages[i].Line) + ", can be read by stages below it only"
	}
	if meant, ok := nearestWord(strings.ToLower(name), f.names()); ok {
		return "did you mean the stage " + meant + "?"
	}
	return ""
}

// newStage makes the stage that a FROM begins.
func (f *File) newStage(n *parser.Node, c *instructions.Stage) (*Stage, error) {
	s := &Stage{
		Index: len(f.Stages), Name: c.Name, BaseStage: -1,
		Line: n.StartLine, Original: strings.TrimSpace(n.Original),
	}
	base := f.from
	if base == "" || s.Index > 0 {
		var err error
		if base, err = f.fromWord(s, "base name", c.BaseName); err != nil {
			return nil, err
		}
	}
	s.Base = base
	if i, ok := f.stageNamed(base, s.Index); ok {
		s.BaseStage = i
		s.Needs = []int{i}
	}
	if err := f.replace(s, base); err != nil {
		return nil, err
	}
	return s, f.setPlatform(s, c.Platform)
}

// setPlatform says what a stage's base is wanted for. As in BuildKit, FROM
// --platform counts for images alone: what is made here has its platform already,
// and nothing at all is for what the image is built for.
func (f *File) setPlatform(s *Stage, word string) error {
	s.Platform, s.AnyPlatform = f.Platform, f.AnyPlatform
	var wanted v1.Platform
	if word != "" {
		text, err := f.fromWord(s, "platform", word)
		if err != nil {
			return err
		}
		if wanted, err = platform.ParseLinux(text); err != nil {
			return fault.At(s.Place(f.Name), err)
		}
	}
	switch {
	case s.BaseStage >= 0:
		base := f.Stages[s.BaseStage]
		s.Platform, s.AnyPlatform = base.Platform, base.AnyPlatform
	case word != "" && s.Base != Scratch:
		s.Platform, s.AnyPlatform = wanted, false
	}
	return nil
}

// fromWord expands a word of FROM, which only sees the variables declared
// above the first FROM, and says which of them lacks a value where the result
// can't be used.
func (f *File) fromWord(s *Stage, what, word string) (string, error) {
	match, err := process(shell.NewLex(f.Escape), word, variables(f.MetaArgs))
	if err != nil {
		return "", faultAt(s.Place(f.Name), "", "%w", tidy(err))
	}
	unset := slices.Sorted(maps.Keys(match.Unmatched))
	switch {
	case match.Result == "" && len(unset) == 0:
		return "", faultAt(s.Place(f.Name), "", "the %s %q is empty", what, word)
	case match.Result == "":
		return "", faultAt(s.Place(f.Name), unsetRemedy(unset), "the %s %q is empty: %s has no value here", what, word, strings.Join(unset, ", "))
	case len(unset) > 0 && what == "base name":
		if _, err := reference.ParseNormalizedNamed(match.Result); err != nil {
			return "", faultAt(s.Place(f.Name), unsetRemedy(unset), "%q becomes %q, which is no image name: %s has no value here", word, match.Result, strings.Join(unset, ", "))
		}
	}
	return match.Result, nil
}

func unsetRemedy(names []string) string {
	return "declare it above the first FROM with a default (ARG " + names[0] + "=…), or there and pass --build-arg " + names[0] + "=…"
}

// resolveSources looks up what the instructions read besides their own stage.
// It runs when all stages are known, to tell a later stage from an image.
func (f *File) resolveSources() error {
	for _, s := range f.Stages {
		for i := range s.Instructions {
			ins := &s.Instructions[i]
			if err := f.resolveCopy(s, ins); err != nil {
				return err
			}
			if err := f.resolveMounts(s, ins); err != nil {
				return err
			}
			for _, stage := range ins.Reads() {
				s.need(stage)
			}
		}
	}
	return nil
}

// resolveCopy sets FromStage or FromImage where COPY has --from.
func (f *File) resolveCopy(s *Stage, ins *Instruction) error {
	c, ok := ins.Cmd.(*instructions.CopyCommand)
	if !ok || c.From == "" {
		return nil
	}
	plain, _, err := shell.NewLex(f.Escape).ProcessWord(c.From, variables(nil))
	if err != nil || plain != c.From {
		return faultAt(ins.Place(f.Name), "add FROM "+c.From+" AS a-name above this stage and copy --from=a-name",
			"--from takes no variables")
	}
	if ins.FromStage, err = f.source(s, ins, c.From); err != nil {
		return err
	}
	if ins.FromStage < 0 {
		ins.FromImage = c.From
	}
	return nil
}

// source finds the earlier stage that --from means; -1 stands for an image.
func (f *File) source(s *Stage, ins *Instruction, from string) (int, error) {
	at := ins.Place(f.Name)
	if _, known := f.contextNamed(from); known {
		i, err := f.targetStage(s, from)
		return i, fault.At(at, err)
	}
	if i, err := strconv.Atoi(from); err == nil {
		if i < 0 || i >= s.Index {
			return -1, faultAt(at, "stages are counted from 0, and only earlier ones can be read", "there is no stage %d before this one", i)
		}
		return i, nil
	}
	if i, ok := f.stageNamed(from, s.Index); ok {
		return i, nil
	}
	switch i, ok := f.stageNamed(from, len(f.Stages)); {
	case ok && i == s.Index:
		return -1, faultAt(at, "read an earlier stage or an image", "stage %q can't read itself", from)
	case ok:
		return -1, faultAt(at, "move stage "+f.Stages[i].Name+" above this one", "stage %q comes only later, at line %d", from, f.Stages[i].Line)
	}
	return -1, nil
}

// need notes another stage that this one reads.
func (s *Stage) need(i int) {
	if at, known := slices.BinarySearch(s.Needs, i); !known {
		s.Needs = slices.Insert(s.Needs, at, i)
	}
}
