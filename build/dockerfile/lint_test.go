package dockerfile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
)

// lintOptions know one base image, base, and one ignored file.
var lintOptions = dockerfile.LintOptions{
	Base: func(s *dockerfile.Stage) (dockerfile.Base, bool) {
		switch s.Base {
		case "base":
			return dockerfile.Base{Env: []string{"FROM_BASE=1"}}, true
		case "shelled":
			return dockerfile.Base{Shell: []string{"/bin/bash", "-c"}, Triggers: []string{"ARG TRIGGERED=1", "CMD hidden"}}, true
		case "foreign":
			return dockerfile.Base{Platform: v1.Platform{OS: "linux", Architecture: "s390x"}}, true
		}
		return dockerfile.Base{}, false
	},
	Ignored: func(path string) bool { return path == "ignored" },
}

// found gives the warnings as "line rule".
func found(t *testing.T, src string, o dockerfile.Options) []string {
	t.Helper()
	warnings, err := parse(t, src, o).Lint(lintOptions)
	if err != nil {
		t.Errorf("%s: %v", src, err)
	}
	var got []string
	for _, w := range warnings {
		if w.Remedy == "" || w.Text == "" || w.EndLine < w.Line {
			t.Errorf("%+v", w)
		}
		got = append(got, fmt.Sprintf("%d %s", w.Line, w.Rule))
	}
	return got
}

func TestEachRuleFiresWhereItShould(t *testing.T) {
	for _, test := range []struct{ src, want string }{
		{"FROM base AS Upper\n", "1 StageNameCasing"},
		{"FROM base as lower\n", "1 FromAsCasing"},
		{"FROM base\nRUN a \\\n\n  b\n", "4 NoEmptyContinuation"},
		{"FROM base\nRun a\nRUN b\n", "2 ConsistentInstructionCasing"},
		{"from base\nrun a\nRUN b\n", "3 ConsistentInstructionCasing"},
		{"FROM base AS a\nFROM base AS a\n", "2 DuplicateStageName"},
		{"FROM base AS context\n", "1 ReservedStageName"},
		{"FROM base\nCMD a\n", "2 JSONArgsRecommended"},
		{"FROM base\nENTRYPOINT a\n", "2 JSONArgsRecommended"},
		{"FROM base\nSHELL [\"/bin/bash\", \"-c\"]\nCMD a\n", ""},
		{"FROM shelled\nCMD a $TRIGGERED\nUSER $TRIGGERED\n", ""},
		{"FROM base\nMAINTAINER me\n", "2 MaintainerDeprecated"},
		{"FROM base${X}\n", "1 UndefinedArgInFrom"},
		{"ARG X\nFROM base${X}\n", ""},
		{"FROM base\nWORKDIR a\nWORKDIR b\n", "2 WorkdirRelativePath"},
		{"FROM base\nWORKDIR /a\nWORKDIR b\n", ""},
		{"FROM base\nCOPY $NOWHERE /\n", "2 UndefinedVar"},
		{"FROM base\nARG DECLARED\nCOPY a$DECLARED$FROM_BASE$PATH /\nRUN $NOWHERE\n", ""},
		{"FROM base\nARG A=$NOWHERE\n", "2 UndefinedVar"},
		{"FROM base AS a\nENV KNOWN=1\nFROM a\nCOPY $KNOWN /\nFROM base\nCOPY $KNOWN /\n", "6 UndefinedVar"},
		{"FROM base\nCOPY <<EOF /x\n$NOWHERE\nEOF\n", "2 UndefinedVar"},
		{"FROM unknown\nCOPY $NOWHERE /\n", ""},
		{"FROM base\nCMD [\"a\"]\nCMD [\"b\"]\n", "2 MultipleInstructionsDisallowed"},
		{"FROM base\nHEALTHCHECK NONE\nHEALTHCHECK CMD a\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"b\"]\n", "2 MultipleInstructionsDisallowed 4 MultipleInstructionsDisallowed"},
		{"FROM base AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]\n", ""},
		{"FROM base\nENV A b\nLABEL A b\n", "2 LegacyKeyValueFormat 3 LegacyKeyValueFormat"},
		{"FROM foreign\n", "1 InvalidBaseImagePlatform"},
		{"FROM --platform=$TARGETPLATFORM base\n", "1 RedundantTargetPlatform"},
		{"FROM --platform=$BUILDPLATFORM base\n", ""},
		{"FROM base\nARG API_KEY\nENV PASSWORD=x\nENV PUBLIC_KEY=x MONKEY=x KEYBOARD=x\n", "2 SecretsUsedInArgOrEnv 3 SecretsUsedInArgOrEnv"},
		{"ARG V\nFROM base:$V\n", "2 InvalidDefaultArgInFrom"},
		{"ARG V=1\nFROM base:$V\n", ""},
		{"FROM --platform=linux/arm64 base\n", "1 FromPlatformFlagConstDisallowed"},
		{"FROM --platform=linux/arm64 base AS for-arm64\n", ""},
		{"FROM base\nCOPY ./ignored ./other /d/\nADD ignored https://h/ignored /\n", "2 CopyIgnoredFile 3 CopyIgnoredFile"},
		{"FROM base AS a\nCOPY --from=base ignored /\n", ""},
		{"FROM base\nEXPOSE 1.2.3.4::90/udp 80/TCP 8080:80\n", "2 ExposeInvalidFormat 2 ExposeProtoCasing 2 ExposeInvalidFormat"},
		{"# check=experimental=all\n# other\nFROM base AS a\n# the b\nARG B\n", "3 InvalidDefinitionDescription 5 InvalidDefinitionDescription"},
		{"# other\nFROM base AS a\n", ""},
	} {
		o := dockerfile.Options{BuildArgs: map[string]string{"V": "given"}}
		if got := strings.Join(found(t, test.src, o), " "); got != test.want {
			t.Errorf("%s got  %q\n want %q", test.src, got, test.want)
		}
	}
}

func TestRulesAreSwitchedOffByDirectiveArgumentOrComment(t *testing.T) {
	const src = "FROM base AS Upper\nMAINTAINER me\n"
	for _, test := range []struct{ directive, arg, want string }{
		{"", "", "1 StageNameCasing 2 MaintainerDeprecated"},
		{"# check=skip=StageNameCasing\n", "", "3 MaintainerDeprecated"},
		{"# syntax=docker/dockerfile:1\n# check=skip=all\n", "", ""},
		{"# check=skip=all\n", "skip=MaintainerDeprecated", "2 StageNameCasing"},
	} {
		o := dockerfile.Options{}
		if test.arg != "" {
			o.BuildArgs = map[string]string{"BUILDKIT_DOCKERFILE_CHECK": test.arg}
		}
		if got := strings.Join(found(t, test.directive+src, o), " "); got != test.want {
			t.Errorf("%q, %q: %s, want %s", test.directive, test.arg, got, test.want)
		}
	}
	got := found(t, "FROM base\n# check=skip=LegacyKeyValueFormat\nENV A b\nENV C d\n", dockerfile.Options{})
	if !slices.Equal(got, []string{"4 LegacyKeyValueFormat"}) {
		t.Errorf("above one instruction: %v", got)
	}
}

func TestWarningsAreErrorsOnDemand(t *testing.T) {
	f := parse(t, "# check=error=true\nFROM base AS Upper\n", dockerfile.Options{})
	warnings, err := f.Lint(lintOptions)
	if err != nil || !f.FailsOnWarnings() {
		t.Fatalf("%v, %v", warnings, err)
	}
	err = f.Violation(warnings)
	if err == nil || fault.Code(err) != 1 || err.Error() != "Dockerfile: lint violation found for rules: StageNameCasing" {
		t.Errorf("%v (%d)", err, fault.Code(err))
	}
	if err := f.Violation(nil); err != nil {
		t.Error(err)
	}
}

func TestCheckDirectiveThatMakesNoSense(t *testing.T) {
	for src, want := range map[string]string{
		"# syntax=docker/dockerfile:1\n# check=nonsense\nFROM x\n": "Dockerfile:2: # check=nonsense: invalid check option",
		"# check=error=perhaps\nFROM x\n":                          "Dockerfile:1: # check=error=perhaps: ",
	} {
		_, err := dockerfile.Parse("Dockerfile", []byte(src), dockerfile.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", src, err)
		}
	}
	o := dockerfile.Options{BuildArgs: map[string]string{"BUILDKIT_DOCKERFILE_CHECK": "x"}}
	if _, err := dockerfile.Parse("f", []byte("FROM x\n"), o); err == nil || !strings.Contains(err.Error(), "--build-arg BUILDKIT_DOCKERFILE_CHECK=x") {
		t.Error(err)
	}
}

func TestOnlyTheStagesAskedForAreLookedAt(t *testing.T) {
	f := parse(t, "FROM base AS unused\nCMD a\nFROM base AS used\nCMD b\n", dockerfile.Options{})
	o := lintOptions
	o.Stages = f.Stages[1:]
	warnings, err := f.Lint(o)
	if err != nil || len(warnings) != 1 || warnings[0].Line != 4 {
		t.Errorf("%+v, %v", warnings, err)
	}
}

func TestUndefinedVariableNamesTheOneMeant(t *testing.T) {
	warnings, err := parse(t, "FROM base\nENV VERSION=1\nCOPY $VERSON /\n", dockerfile.Options{}).Lint(lintOptions)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Text, "did you mean $VERSION?") {
		t.Errorf("%+v, %v", warnings, err)
	}
}

func TestCheckCommentInATriggerOfTheBase(t *testing.T) {
	got, err := dockerfile.ParseTrigger("# check=skip=all\nRUN a")
	if err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
