package dockerfile

import (
	"bytes"
	"errors"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Parse reads the text of a Dockerfile. name is how errors call it. Errors are
// *fault.Error with the place in the text.
func Parse(name string, src []byte, o Options) (*File, error) {
	src = bytes.TrimPrefix(src, byteOrderMark)
	if err := checkText(name, src); err != nil {
		return nil, err
	}
	if err := checkDirectives(name, src, o.BuildArgs); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(bytes.NewReader(src))
	if err != nil {
		return nil, grammarError(name, src, err)
	}
	f := &File{
		Name: name, Escape: tree.EscapeToken, buildArgs: o.BuildArgs, contexts: o.Contexts, src: src, from: o.From,
		Platform: orHere(o.Platform), AnyPlatform: o.Platform.OS == "",
	}
	if f.check, err = lintConfig(name, src, o.BuildArgs); err != nil {
		return nil, err
	}
	nodes := tree.AST.Children
	commands := make([]any, len(nodes))
	for i, n := range nodes {
		if commands[i], err = instructions.ParseInstructionWithLinter(n, silent()); err != nil {
			return nil, instructionError(name, n, err)
		}
	}
	first, err := f.firstFrom(nodes, commands)
	if err != nil {
		return nil, err
	}
	f.predefined = platformArgs(o, commands)
	if err := f.evalMetaArgs(nodes[:first], commands[:first], f.predefined); err != nil {
		return nil, err
	}
	if err := f.readEpoch(o.ContextTime); err != nil {
		return nil, err
	}
	for i := first; i < len(nodes); i++ {
		if err := f.add(nodes[i], commands[i]); err != nil {
			return nil, err
		}
	}
	return f, f.resolveSources()
}

// silent is a linter without rules. BuildKit's parser needs one where "# check="
// stands above an instruction; see File.Lint for the warnings.
func silent() *linter.Linter { return linter.New(&linter.Config{}) }

// firstFrom finds the first FROM and sees to it that only ARG stands above it.
func (f *File) firstFrom(nodes []*parser.Node, commands []any) (int, error) {
	for i, c := range commands {
		switch c.(type) {
		case *instructions.Stage:
			return i, nil
		case *instructions.ArgCommand:
		default:
			return 0, faultAt(place(f.Name, nodes[i].StartLine, nodes[i].Original),
				"begin the file with FROM and the image to build upon, such as: FROM debian:12",
				"%s stands before the first FROM, where only ARG may", strings.ToUpper(nodes[i].Value))
		}
	}
	return 0, faultAt(f.Name, "add FROM and the image to build upon, such as: FROM debian:12", "there is no FROM in it")
}

// add appends one parsed node to the file's stages.
func (f *File) add(n *parser.Node, cmd any) error {
	switch c := cmd.(type) {
	case *instructions.Stage:
		s, err := f.newStage(n, c)
		if err != nil {
			return err
		}
		f.Stages = append(f.Stages, s)
	case instructions.Command:
		s := f.Last()
		if s.Replaced {
			return nil
		}
		s.Instructions = append(s.Instructions, newInstruction(n, c))
	}
	return nil
}

func newInstruction(n *parser.Node, cmd instructions.Command) Instruction {
	return Instruction{
		Line: n.StartLine, EndLine: n.EndLine,
		Original:  strings.TrimSpace(n.Original),
		Cmd:       cmd,
		Heredocs:  n.Heredocs,
		FromStage: -1,
	}
}

// ParseTrigger parses the text of one ONBUILD trigger, which may not be FROM,
// MAINTAINER or ONBUILD. Its --from isn't looked up; see File.Triggers.
func ParseTrigger(text string) ([]Instruction, error) {
	tree, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, fault.New("", "the base image's trigger %q: %w", oneLine(text), err)
	}
	if len(tree.AST.Children) != 1 {
		return nil, fault.New("", "the base image's trigger %q is more than one instruction", oneLine(text))
	}
	n := tree.AST.Children[0]
	switch name := strings.ToUpper(n.Value); name {
	case "FROM", "MAINTAINER", "ONBUILD":
		return nil, fault.New("", "%s isn't allowed as an ONBUILD trigger of the base image", name)
	}
	parsed, err := instructions.ParseInstructionWithLinter(n, silent())
	cmd, ok := parsed.(instructions.Command)
	if err == nil && !ok {
		err = errors.New("it is no instruction")
	}
	if err != nil {
		return nil, fault.New("", "the base image's trigger %q: %w", oneLine(text), flagError(n.Value, err))
	}
	ins := newInstruction(n, cmd)
	ins.Trigger = true
	return []Instruction{ins}, nil
}

// Triggers parses the ONBUILD triggers of a stage's base. They stand at FROM's
// line, are marked as triggers, and COPY --from is looked up among the stages.
func (f *File) Triggers(s *Stage, texts []string) ([]Instruction, error) {
	var all []Instruction
	for _, text := range texts {
		parsed, err := ParseTrigger(text)
		if err != nil {
			return nil, fault.At(s.Place(f.Name), err)
		}
		for _, ins := range parsed {
			ins.Line, ins.EndLine = s.Line, s.Line
			if err := f.resolveCopy(s, &ins); err != nil {
				return nil, err
			}
			if err := f.resolveMounts(s, &ins); err != nil {
				return nil, err
			}
			all = append(all, ins)
		}
	}
	return all, nil
}

// grammarError says where and why the text can't be split into instructions.
func grammarError(name string, src []byte, err error) error {
	line := errorLine(err)
	text := sourceLine(src, line)
	switch err.Error() {
	case "unterminated heredoc":
		end := openHeredoc(src, line)
		return faultAt(place(name, line, text),
			"put "+end+" alone on a line behind it, without blanks around it",
			"the here-document has no end: no line is just %q", end)
	case "file with no instructions":
		return faultAt(name, "add FROM and the image to build upon, such as: FROM debian:12",
			"it holds comments only, no instruction")
	}
	return faultAt(place(name, line, text), parseRemedy(err), "%w", tidy(err))
}

// instructionError says which instruction is wrong and what may be meant.
func instructionError(name string, n *parser.Node, err error) error {
	at := place(name, n.StartLine, n.Original)
	var unknown *instructions.UnknownInstructionError
	if !errors.As(err, &unknown) {
		return faultAt(at, parseRemedy(err), "%w", flagError(n.Value, err))
	}
	remedy := "if the line goes on with the instruction above, end that one's line with \\"
	if meant, ok := closestInstruction(unknown.Instruction); ok {
		remedy = "did you mean " + meant + "?"
	}
	return faultAt(at, remedy, "unknown instruction %s", strings.ToUpper(oneLine(unknown.Instruction)))
}

// errorLine is the first line that err names, or 0.
func errorLine(err error) int {
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 && len(located.Locations[0]) > 0 {
		return located.Locations[0][0].Start.Line
	}
	return 0
}

// openHeredoc is the word that should end the here-document begun at a line.
func openHeredoc(src []byte, line int) string {
	lines := strings.Split(string(src), "\n")
	if line < 1 || line > len(lines) {
		return "EOF"
	}
	word := "EOF"
	for _, field := range strings.Fields(lines[line-1]) {
		doc, err := parser.ParseHeredoc(field)
		if err != nil || doc == nil {
			continue
		}
		word = doc.Name
		if !hasLine(lines[line:], word) {
			return word
		}
	}
	return word
}

func hasLine(lines []string, word string) bool {
	for _, l := range lines {
		if strings.TrimRight(l, "\r") == word {
			return true
		}
	}
	return false
}
