package dockerfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"

	"github.com/builder-oci/builder/internal/platform"
)

// These are the rules of the whole file: spelling, names, and FROM lines.

func (x *lint) stageNames(stages []instructions.Stage) {
	seen := map[string]bool{}
	for _, s := range stages {
		if s.Name == "" {
			continue
		}
		if s.Name == "context" || s.Name == Scratch {
			x.linter.Run(&linter.RuleReservedStageName, s.Location, linter.RuleReservedStageName.Format(s.Name))
		}
		if seen[s.Name] {
			x.linter.Run(&linter.RuleDuplicateStageName, s.Location, linter.RuleDuplicateStageName.Format(s.Name))
		}
		seen[s.Name] = true
	}
}

// word is the name of an instruction as it is written, with its place.
type word struct {
	text string
	at   []parser.Range
}

// casing looks whether all instructions are written as most of them are.
func (x *lint) casing(stages []instructions.Stage) {
	var words []word
	for _, s := range stages {
		words = append(words, word{s.OrigCmd, s.Location})
		for _, c := range s.Commands {
			words = append(words, word{c.Name(), c.Location()})
		}
	}
	balance := 0 // above zero where most are in lower case
	for _, w := range words {
		switch w.text {
		case strings.ToLower(w.text):
			balance++
		case strings.ToUpper(w.text):
			balance--
		}
	}
	change, want := strings.ToUpper, "uppercase"
	if balance > 0 {
		change, want = strings.ToLower, "lowercase"
	}
	for _, w := range words {
		if change(w.text) != w.text {
			x.linter.Run(&linter.RuleConsistentInstructionCasing, w.at, linter.RuleConsistentInstructionCasing.Format(w.text, want))
		}
	}
}

func (x *lint) fromLines(stages []instructions.Stage, metaArgs []instructions.ArgCommand) {
	x.defaultBases(stages, metaArgs)
	for _, kv := range x.f.MetaArgs {
		name, _, _ := strings.Cut(kv, "=")
		x.declared = append(x.declared, name)
	}
	for _, c := range metaArgs {
		for _, kv := range c.Args {
			x.declared = append(x.declared, kv.Key)
		}
	}
	lex, env := shell.NewLex(x.f.Escape), variables(x.f.MetaArgs)
	for _, s := range stages {
		rules := x.linter.WithMergedConfigFromComments(s.Comments)
		if base, err := process(lex, s.BaseName, env); err == nil {
			x.undeclared(rules, base.Unmatched, s.Location)
		}
		if s.Platform == "" {
			continue
		}
		if platform, err := process(lex, s.Platform, env); err == nil {
			x.undeclared(rules, platform.Unmatched, s.Location)
			x.platform(rules, s, platform)
		}
	}
}

// defaultBases looks at the base names that come out where nobody gives a
// --build-arg.
func (x *lint) defaultBases(stages []instructions.Stage, metaArgs []instructions.ArgCommand) {
	bare := &File{Escape: x.f.Escape, MetaArgs: x.f.predefined}
	for _, c := range metaArgs {
		args, err := bare.Args(&c, bare.MetaArgs)
		if err != nil {
			return // no file that is built comes here
		}
		for _, a := range args {
			if a.Set {
				bare.MetaArgs = setEnv(bare.MetaArgs, a.Name, a.Value)
			}
		}
	}
	lex, env := shell.NewLex(x.f.Escape), variables(bare.MetaArgs)
	for _, s := range stages {
		base, err := process(lex, s.BaseName, env)
		if err != nil {
			return
		}
		if _, err := reference.ParseNormalizedNamed(base.Result); err != nil {
			x.linter.Run(&linter.RuleInvalidDefaultArgInFrom, s.Location, linter.RuleInvalidDefaultArgInFrom.Format(s.BaseName))
		}
	}
}

// undeclared warns of variables in FROM that no ARG above it declares.
func (x *lint) undeclared(rules *linter.Linter, unset map[string]struct{}, at []parser.Range) {
	for _, name := range slices.Sorted(maps.Keys(unset)) {
		if slices.Contains(x.declared, name) {
			continue
		}
		meant, _ := suggest.Search(name, x.declared, true)
		rules.Run(&linter.RuleUndefinedArgInFrom, at, linter.RuleUndefinedArgInFrom.Format(name, meant))
	}
}

// platform warns of a FROM --platform that says what is so anyway, or that
// lets the file be built for one platform only.
func (x *lint) platform(rules *linter.Linter, s instructions.Stage, value shell.ProcessWordResult) {
	target, _ := x.f.MetaArg("TARGETPLATFORM")
	_, byTarget := value.Matched["TARGETPLATFORM"]
	switch {
	case len(value.Matched) == 1 && len(value.Unmatched) == 0 && byTarget && value.Result == target:
		rules.Run(&linter.RuleRedundantTargetPlatform, s.Location, linter.RuleRedundantTargetPlatform.Format(s.Platform))
	case len(value.Matched) == 0 && len(value.Unmatched) == 0:
		p, err := platform.Parse(value.Result)
		if err == nil && !strings.Contains(s.Name, p.OS) && !strings.Contains(s.Name, p.Architecture) {
			rules.Run(&linter.RuleFromPlatformFlagConstDisallowed, s.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(value.Result))
		}
	}
}
