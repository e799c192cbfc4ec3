package dockerfile

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
)

// linted is what the rules know of a stage at one of its instructions.
type linted struct {
	// env are the variables that words are expanded with, args the names of
	// those that ARG declares.
	env, args []string
	// open says that the base image isn't known, so that any variable may be
	// set.
	open  bool
	shell bool // a SHELL was chosen
	// workdir says that the file has set a working directory.
	workdir bool
	// last is where CMD, ENTRYPOINT and HEALTHCHECK stood last.
	last map[string][]parser.Range
}

// stages looks at the instructions of the stages.
func (x *lint) stages(stages []instructions.Stage) error {
	done := make([]*linted, len(stages))
	for i, s := range stages {
		own := x.f.Stages[i]
		if x.o.Stages != nil && !slices.Contains(x.o.Stages, own) {
			continue
		}
		st, err := x.begin(own, s, done)
		if err != nil {
			return err
		}
		done[i] = st
		for n, cmd := range s.Commands {
			rules := x.linter.WithMergedConfigFromComments(cmd.Comments())
			if err := x.instruction(rules, st, cmd); err != nil {
				return fault.At(own.Instructions[n].Place(x.f.Name), tidy(err))
			}
		}
	}
	return nil
}

// begin gives what a stage's FROM leaves.
func (x *lint) begin(own *Stage, s instructions.Stage, done []*linted) (*linted, error) {
	st := &linted{last: map[string][]parser.Range{}}
	var triggers []string
	switch {
	case own.BaseStage >= 0 && done[own.BaseStage] != nil:
		base := done[own.BaseStage]
		st.env, st.args = slices.Clone(base.env), slices.Clone(base.args)
		st.open, st.shell, st.workdir = base.open, base.shell, base.workdir
		for _, in := range x.f.Stages[own.BaseStage].Instructions {
			if c, ok := in.Cmd.(*instructions.OnbuildCommand); ok {
				triggers = append(triggers, c.Expression)
			}
		}
	case own.Base == Scratch:
	default:
		base, known := x.base(own)
		st.env, st.shell, st.open = slices.Clone(base.Env), len(base.Shell) > 0, !known
		triggers = base.Triggers
		if known {
			x.basePlatform(own, base.Platform, s.Location)
		}
	}
	if _, set := lookup(st.env, "PATH"); !set {
		st.env = setEnv(st.env, "PATH", "/")
	}
	return st, x.triggers(own, st, triggers)
}

// triggers takes into account what a base's ONBUILD sets. Their text isn't this
// file's, so nothing is said of it.
func (x *lint) triggers(own *Stage, st *linted, texts []string) error {
	all, err := x.f.Triggers(own, texts)
	if err != nil {
		return err
	}
	for _, in := range all {
		if err := x.instruction(nil, st, clone(in.Cmd)); err != nil {
			return fault.At(in.Place(x.f.Name), tidy(err))
		}
	}
	clear(st.last) // a CMD of the file's own comes after one of a trigger's
	return nil
}

func (x *lint) base(own *Stage) (Base, bool) {
	if x.o.Base == nil {
		return Base{}, false
	}
	return x.o.Base(own)
}

// basePlatform warns of a base image that is for another platform than asked.
func (x *lint) basePlatform(own *Stage, got v1.Platform, at []parser.Range) {
	want := own.Platform
	if got.OS == "" || got.OS == want.OS && got.Architecture == want.Architecture {
		return
	}
	x.linter.Run(&linter.RuleInvalidBaseImagePlatform, at,
		linter.RuleInvalidBaseImagePlatform.Format(own.Base, platform.Name(want), platform.Name(got)))
}

// instruction applies the rules to one instruction, which it expands in place,
// and then what the instruction does to the state. rules may be nil.
func (x *lint) instruction(rules *linter.Linter, st *linted, cmd instructions.Command) error {
	if err := x.expand(rules, st, cmd); err != nil {
		return err
	}
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			legacy(rules, c, kv)
			secret(rules, c, "ENV", kv.Key)
			st.env = setEnv(st.env, kv.Key, kv.Value)
		}
	case *instructions.LabelCommand:
		for _, kv := range c.Labels {
			legacy(rules, c, kv)
		}
	case *instructions.ArgCommand:
		return x.arg(rules, st, c)
	case *instructions.CmdCommand:
		st.once(rules, "CMD", c)
		st.json(rules, c, c.PrependShell)
	case *instructions.EntrypointCommand:
		st.once(rules, "ENTRYPOINT", c)
		st.json(rules, c, c.PrependShell)
	case *instructions.HealthCheckCommand:
		st.once(rules, "HEALTHCHECK", c)
	case *instructions.ShellCommand:
		st.shell = len(c.Shell) > 0
	case *instructions.WorkdirCommand:
		if !st.workdir && !path.IsAbs(c.Path) {
			rules.Run(&linter.RuleWorkdirRelativePath, c.Location(), linter.RuleWorkdirRelativePath.Format(c.Path))
		}
		st.workdir = true
	case *instructions.ExposeCommand:
		return x.ports(rules, st, c)
	case *instructions.CopyCommand:
		if c.From == "" {
			x.ignored(rules, c, "Copy", c.SourcePaths)
		}
	case *instructions.AddCommand:
		x.ignored(rules, c, "Add", c.SourcePaths)
	}
	return nil
}

// expand expands the words of an instruction and warns of variables that
// nothing has set.
func (x *lint) expand(rules *linter.Linter, st *linted, cmd instructions.Command) error {
	env := variables(st.env)
	by := func(lex *shell.Lex) func(string) (string, error) {
		return func(text string) (string, error) {
			result, err := process(lex, text, env)
			x.unset(rules, st, cmd, result.Unmatched)
			return result.Result, err
		}
	}
	_, isArg := cmd.(*instructions.ArgCommand)
	if c, ok := cmd.(instructions.SupportsSingleWordExpansion); ok && !isArg {
		if err := c.Expand(by(shell.NewLex(x.f.Escape))); err != nil {
			return err
		}
	}
	if c, ok := cmd.(instructions.SupportsSingleWordExpansionRaw); ok {
		lex := shell.NewLex('\\')
		lex.SkipProcessQuotes = true
		return c.ExpandRaw(by(lex))
	}
	return nil
}

func (x *lint) unset(rules *linter.Linter, st *linted, cmd instructions.Command, names map[string]struct{}) {
	if st.open {
		return
	}
	var known []string
	for _, kv := range st.env {
		name, _, _ := strings.Cut(kv, "=")
		known = append(known, name)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if slices.Contains(st.args, name) || ForBuilderOnly(name) {
			continue
		}
		meant, _ := suggest.Search(name, known, true)
		rules.Run(&linter.RuleUndefinedVar, cmd.Location(), linter.RuleUndefinedVar.Format(name, meant))
	}
}

func (x *lint) arg(rules *linter.Linter, st *linted, c *instructions.ArgCommand) error {
	for _, kv := range c.Args {
		secret(rules, c, "ARG", kv.Key)
		_, given := x.f.buildArgs[kv.Key]
		if kv.Value != nil && !given {
			result, err := process(shell.NewLex(x.f.Escape), *kv.Value, variables(st.env))
			x.unset(rules, st, c, result.Unmatched)
			if err != nil {
				return err
			}
		}
		one := &instructions.ArgCommand{Args: []instructions.KeyValuePairOptional{kv}}
		args, err := x.f.Args(one, st.env)
		if err != nil {
			return err
		}
		if args[0].Set && !ForBuilderOnly(kv.Key) {
			st.env = setEnv(st.env, kv.Key, args[0].Value)
		}
		st.args = append(st.args, kv.Key)
	}
	return nil
}

func (x *lint) ports(rules *linter.Linter, st *linted, c *instructions.ExposeCommand) error {
	for _, text := range c.Ports {
		words, err := x.f.Expander().Words(text, st.env)
		if err != nil {
			return err
		}
		for _, w := range words {
			host := w[:max(strings.LastIndexByte(w, ':'), 0)]
			if _, protocol, _ := strings.Cut(w[len(host):], "/"); protocol != strings.ToLower(protocol) {
				rules.Run(&linter.RuleExposeProtoCasing, c.Location(), linter.RuleExposeProtoCasing.Format(w))
			}
			if strings.Trim(host, ":") != "" {
				rules.Run(&linter.RuleExposeInvalidFormat, c.Location(), linter.RuleExposeInvalidFormat.Format(w))
			}
		}
	}
	return nil
}

func (x *lint) ignored(rules *linter.Linter, cmd instructions.Command, verb string, sources []string) {
	if x.o.Ignored == nil {
		return
	}
	for _, s := range sources {
		if isRemote(s) {
			continue
		}
		if s = path.Clean(s); x.o.Ignored(s) {
			rules.Run(&linter.RuleCopyIgnoredFile, cmd.Location(), linter.RuleCopyIgnoredFile.Format(verb, s))
		}
	}
}

// once warns of an instruction of which only the last counts, at those before.
func (st *linted) once(rules *linter.Linter, name string, cmd instructions.Command) {
	if at, used := st.last[name]; used {
		rules.Run(&linter.RuleMultipleInstructionsDisallowed, at, linter.RuleMultipleInstructionsDisallowed.Format(cmd.Name()))
	}
	st.last[name] = cmd.Location()
}

// json warns of the shell form where nobody chose a shell.
func (st *linted) json(rules *linter.Linter, cmd instructions.Command, shellForm bool) {
	if shellForm && !st.shell {
		rules.Run(&linter.RuleJSONArgsRecommended, cmd.Location(), linter.RuleJSONArgsRecommended.Format(cmd.Name()))
	}
}

func legacy(rules *linter.Linter, cmd instructions.Command, kv instructions.KeyValuePair) {
	if kv.NoDelim {
		rules.Run(&linter.RuleLegacyKeyValueFormat, cmd.Location(), linter.RuleLegacyKeyValueFormat.Format(cmd.Name()))
	}
}

// A name is that of a secret if one of its words (underscores part them) is one
// of these, and none of them says that it is public.
var (
	secretName = regexp.MustCompile(`(?i)(?:^|_)(?:apikey|auth|credentials?|key|password|passwd|pword|secret|token)(?:_|$)`)
	publicName = regexp.MustCompile(`(?i)(?:^|_)public(?:_|$)`)
)

func secret(rules *linter.Linter, cmd instructions.Command, instruction, name string) {
	if secretName.MatchString(name) && !publicName.MatchString(name) {
		rules.Run(&linter.RuleSecretsUsedInArgOrEnv, cmd.Location(), linter.RuleSecretsUsedInArgOrEnv.Format(instruction, name))
	}
}
