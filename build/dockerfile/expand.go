package dockerfile

import (
	"errors"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Expander replaces $variables and quotes in words as docker does. It holds no
// environment and may be used from several goroutines.
type Expander struct {
	escape rune
}

// Expander gives the expander for the file's escape character.
func (f *File) Expander() Expander { return Expander{escape: f.Escape} }

// Word expands a word to one word; blanks in values don't split it. The
// environment is a list of "KEY=value", the last of equal keys wins. What is
// unset becomes empty.
func (x Expander) Word(word string, env []string) (string, error) {
	return expandWord(x.lex(), word, variables(env))
}

// Words expands a word and splits the result at blanks that aren't quoted.
func (x Expander) Words(word string, env []string) ([]string, error) {
	vars := within(word, variables(env))
	words, err := x.lex().ProcessWords(word, vars)
	if err != nil {
		return nil, tidy(err)
	}
	return words, vars.err()
}

// Command gives the instruction with its words expanded: those of ENV, LABEL,
// ADD, COPY, WORKDIR, USER, VOLUME, STOPSIGNAL and EXPOSE, and the unquoted
// here-documents of COPY and ADD. RUN, CMD, ENTRYPOINT, HEALTHCHECK, SHELL,
// ONBUILD and MAINTAINER come back as they are: their variables are the
// shell's business. ARG too; see File.Args. cmd itself isn't changed. What
// makes no sense after expansion (an empty VOLUME, an unknown STOPSIGNAL) is
// an error without a place; see Instruction.Place.
func (x Expander) Command(cmd instructions.Command, env []string) (instructions.Command, error) {
	envs := variables(env)
	word := func(w string) (string, error) { return expandWord(x.lex(), w, envs) }
	expanded := clone(cmd)
	switch c := expanded.(type) {
	case *instructions.RunCommand, *instructions.ArgCommand:
		return cmd, nil
	case *instructions.ExposeCommand:
		if err := x.expandPorts(c, env); err != nil {
			return nil, err
		}
	case instructions.SupportsSingleWordExpansion:
		if err := c.Expand(word); err != nil {
			return nil, err
		}
	}
	if c, ok := expanded.(instructions.SupportsSingleWordExpansionRaw); ok {
		// Quotes in a here-document are part of its text, and its escape
		// character is the shell's whatever the file's is.
		raw := func(text string) (string, error) {
			lex := shell.NewLex('\\')
			lex.SkipProcessQuotes = true
			return expandWord(lex, text, envs)
		}
		if err := c.ExpandRaw(raw); err != nil {
			return nil, err
		}
	}
	return expanded, checkExpanded(expanded)
}

func (x Expander) lex() *shell.Lex {
	if x.escape == 0 {
		x.escape = '\\'
	}
	return shell.NewLex(x.escape)
}

func expandWord(lex *shell.Lex, word string, env shell.EnvGetter) (string, error) {
	if !strings.ContainsAny(word, "$\\`'\"") {
		return word, nil
	}
	expanded, err := process(lex, word, env)
	if err != nil {
		return "", tidy(err)
	}
	return expanded.Result, nil
}

// expandPorts expands EXPOSE, where one word may become several.
func (x Expander) expandPorts(c *instructions.ExposeCommand, env []string) error {
	var ports []string
	for _, p := range c.Ports {
		words, err := x.Words(p, env)
		if err != nil {
			return err
		}
		ports = append(ports, words...)
	}
	c.Ports = ports
	return nil
}

// clone copies what Expand would otherwise change in place: a stage may be
// walked more than once.
func clone(cmd instructions.Command) instructions.Command {
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		n := *c
		n.Env = slices.Clone(c.Env)
		return &n
	case *instructions.LabelCommand:
		n := *c
		n.Labels = slices.Clone(c.Labels)
		return &n
	case *instructions.AddCommand:
		n := *c
		n.SourcesAndDest = cloneSources(c.SourcesAndDest)
		return &n
	case *instructions.CopyCommand:
		n := *c
		n.SourcesAndDest = cloneSources(c.SourcesAndDest)
		return &n
	case *instructions.WorkdirCommand:
		n := *c
		return &n
	case *instructions.UserCommand:
		n := *c
		return &n
	case *instructions.VolumeCommand:
		n := *c
		n.Volumes = slices.Clone(c.Volumes)
		return &n
	case *instructions.StopSignalCommand:
		n := *c
		return &n
	case *instructions.ExposeCommand:
		n := *c
		return &n
	}
	return cmd
}

func cloneSources(s instructions.SourcesAndDest) instructions.SourcesAndDest {
	s.SourcePaths = slices.Clone(s.SourcePaths)
	s.SourceContents = slices.Clone(s.SourceContents)
	return s
}

// checkExpanded refuses values that are wrong in every image.
func checkExpanded(cmd instructions.Command) error {
	switch c := cmd.(type) {
	case *instructions.VolumeCommand:
		if slices.Contains(c.Volumes, "") {
			return errors.New("a volume's path is empty")
		}
	case *instructions.EnvCommand:
		return checkNames(c.Env)
	case *instructions.LabelCommand:
		return checkNames(c.Labels)
	case *instructions.StopSignalCommand:
		return checkSignal(c.Signal)
	case *instructions.CopyCommand:
		if i := slices.IndexFunc(c.SourcePaths, isRemote); i >= 0 && c.From == "" {
			return remoteCopy(c.SourcePaths[i])
		}
	case *instructions.ExposeCommand:
		_, err := ExposedPorts(c)
		return err
	}
	return nil
}

func checkNames(pairs instructions.KeyValuePairs) error {
	for _, kv := range pairs {
		if kv.Key == "" {
			return errors.New("a name is empty")
		}
	}
	return nil
}

// variables are "KEY=value", of which the last of equal keys wins. Most words
// have no variable in them, so that a map would cost more than it saves.
type variables []string

// Get gives the value of a variable.
func (v variables) Get(name string) (string, bool) {
	for _, kv := range slices.Backward(v) {
		if value, ok := strings.CutPrefix(kv, name); ok && (value == "" || value[0] == '=') {
			return strings.TrimPrefix(value, "="), true
		}
	}
	return "", false
}

// Keys gives the names of all variables.
func (v variables) Keys() []string {
	names := make([]string, len(v))
	for i, kv := range v {
		names[i], _, _ = strings.Cut(kv, "=")
	}
	return names
}
