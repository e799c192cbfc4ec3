package dockerfile

import (
	"errors"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/builder-oci/builder/internal/fault"
)

// allowedChanges are the instructions that --change takes, as docker has them:
// those that need nothing but a config.
var allowedChanges = []string{
	"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}

// ParseChanges parses what --change was given: texts of one instruction or more
// that change an image's config alone.
func ParseChanges(texts []string) ([]Instruction, error) {
	var changes []Instruction
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			continue
		}
		tree, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			return nil, changeError(text, err)
		}
		for _, n := range tree.AST.Children {
			in, err := parseChange(n)
			if err != nil {
				return nil, changeError(text, err)
			}
			changes = append(changes, in)
		}
	}
	return changes, nil
}

func parseChange(n *parser.Node) (Instruction, error) {
	if !slices.Contains(allowedChanges, strings.ToUpper(n.Value)) {
		return Instruction{}, fault.New("it can be one of "+strings.Join(allowedChanges, ", "),
			"%s is not a valid change command", n.Value)
	}
	parsed, err := instructions.ParseInstructionWithLinter(n, silent())
	cmd, ok := parsed.(instructions.Command)
	if err == nil && !ok {
		err = errors.New("it is no instruction")
	}
	if err != nil {
		return Instruction{}, flagError(n.Value, err)
	}
	return newInstruction(n, cmd), nil
}

func changeError(text string, err error) error {
	return fault.At("--change "+oneLine(text), err)
}
