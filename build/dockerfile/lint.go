package dockerfile

import (
	"bytes"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

// codeViolation is the exit code where a warning is an error by the user's
// wish, as docker has it.
const codeViolation = 1

// lintArg is the build argument that BuildKit takes the linter's options from,
// in place of the file's directive.
const lintArg = "BUILDKIT_DOCKERFILE_CHECK"

// Warning is what a rule of the linter says of the text. Rules bear BuildKit's
// names and say what BuildKit says.
type Warning struct {
	Rule string `json:"rule"`
	Text string `json:"text"`
	// Remedy is how to mend it, in a sentence; URL leads to more.
	Remedy string `json:"remedy"`
	URL    string `json:"url,omitempty"`
	// Line and EndLine are where the instruction stands, from one.
	Line    int `json:"line"`
	EndLine int `json:"endLine"`
}

// LintOptions are what the rules ask of the rest of a build.
type LintOptions struct {
	// Stages are those whose instructions are looked at; nil stands for all.
	// FROM lines, names and spelling are looked at in the whole file.
	Stages []*Stage
	// Base gives what the base image of a stage brings along. Where it isn't
	// known, rules about variables leave the stage out: any may be set.
	Base func(*Stage) (Base, bool)
	// Ignored says whether the ignore file leaves a path out of the context.
	Ignored func(path string) bool
}

// Base is what the linter asks of a base image.
type Base struct {
	Env, Shell []string
	// Triggers are the texts of its ONBUILD.
	Triggers []string
	Platform v1.Platform
}

// lintConfig reads what "# check=" or the build argument asks of the linter.
func lintConfig(name string, src []byte, buildArgs map[string]string) (linter.Config, error) {
	text, _, ranges, found := parser.ParseDirective("check", src)
	at := place(name, 1, "# check="+text)
	if found && len(ranges) > 0 {
		line := ranges[0].Start.Line
		at = place(name, line, sourceLine(src, line))
	}
	if given, ok := buildArgs[lintArg]; ok {
		text, at = given, "--build-arg "+lintArg+"="+given
	}
	c, err := linter.ParseLintOptions(text)
	if err != nil {
		return linter.Config{}, faultAt(at, "write it as # check=skip=RULE,RULE;error=true", "%w", tidy(err))
	}
	return *c, nil
}

// Source is the text that the file was parsed from, without a byte order mark.
func (f *File) Source() []byte { return f.src }

// FailsOnWarnings says whether the file, or the build argument, wants a build
// with warnings to fail.
func (f *File) FailsOnWarnings() bool { return f.check.ReturnAsError }

// Violation is the *fault.Error for warnings in a file that wants none; nil
// where there are none.
func (f *File) Violation(warnings []Warning) error {
	if len(warnings) == 0 {
		return nil
	}
	var rules []string
	for _, w := range warnings {
		rules = append(rules, w.Rule)
	}
	slices.Sort(rules)
	e := fault.New("", "lint violation found for rules: %s", strings.Join(slices.Compact(rules), ", "))
	e.Place, e.Code = f.Name, codeViolation
	return e
}

// Lint gives the warnings of all rules that are switched on, by lines. Some
// fire in BuildKit's parser; those that BuildKit runs while it makes its graph
// are called here. An error is a *fault.Error of words that can't be expanded;
// the warnings up to there come with it.
func (f *File) Lint(o LintOptions) ([]Warning, error) {
	x := &lint{f: f, o: o}
	config := f.check
	config.Warn = x.warn
	x.linter = linter.New(&config)
	err := x.run()
	slices.SortStableFunc(x.warnings, func(a, b Warning) int { return a.Line - b.Line })
	return x.warnings, err
}

// lint is one walk of the linter through a file.
type lint struct {
	f        *File
	o        LintOptions
	linter   *linter.Linter
	warnings []Warning
	// declared are the names that FROM may use.
	declared []string
}

func (x *lint) warn(rule, _, url, text string, at []parser.Range) {
	w := Warning{Rule: rule, Text: text, URL: url, Remedy: remedies[rule]}
	if len(at) > 0 {
		w.Line, w.EndLine = at[0].Start.Line, at[len(at)-1].End.Line
	}
	x.warnings = append(x.warnings, w)
}

func (x *lint) run() error {
	tree, err := parser.Parse(bytes.NewReader(x.f.src))
	if err != nil {
		return grammarError(x.f.Name, x.f.src, err)
	}
	for _, w := range tree.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL {
			x.linter.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
		}
	}
	stages, metaArgs, err := instructions.Parse(tree.AST, x.linter)
	if err != nil {
		return faultAt(x.f.Name, "", "%w", tidy(err))
	}
	x.stageNames(stages)
	x.casing(stages)
	x.fromLines(stages, metaArgs)
	return x.stages(stages)
}
