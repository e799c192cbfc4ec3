package dockerfile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// What a stranger wrote must give a file or an error, never a panic, and each
// accepted file must hold together.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"FROM scratch\n",
		"# escape=`\nFROM x AS a\nRUN a `\n b\n",
		"ARG A=b\nFROM $A\nFROM y\nCOPY --from=0 a b\n",
		"FROM x\nRUN <<EOF\nhi\nEOF\n",
		"FROM x\nCOPY <<A <<-\"B\" /\nA\n\tB\n",
		"FROM x\nONBUILD RUN <<E\nE\n",
		"FROM a AS b\nFROM b\nCOPY --from=b / /\nENV A=1 B=${A:+x} C=${A/1/2}\nEXPOSE 80 1-3/udp\nVOLUME [\"/x\"]\n",
		"FROM x\nHEALTHCHECK --interval=1s CMD true\nSHELL [\"a\"]\nSTOPSIGNAL 9\nUSER a\nWORKDIR b\nLABEL a=b\n" +
			"MAINTAINER m\nCMD x\nENTRYPOINT []\n",
		"FROM x\n# check=skip=all;error=true\nRUN a\nONBUILD RUN a\n",
		"# syntax=docker/dockerfile:1\n# check=skip=all\nFROM y\nFROM --platform=$TARGETPLATFORM x\nADD --chmod=1 a b\nRUN --mount=from=0 a\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := dockerfile.Parse("Dockerfile", src, dockerfile.Options{BuildArgs: map[string]string{"A": "a"}})
		if err != nil {
			var e *fault.Error
			if !errors.As(err, &e) || e.Place == "" || strings.ContainsAny(e.Place, "\n\r\x1b") {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		_, _ = file.Lint(dockerfile.LintOptions{})
		stages, err := file.Needed("")
		if err != nil || stages[len(stages)-1] != file.Last() {
			t.Fatalf("%v, %v", stages, err)
		}
		for _, s := range file.Stages {
			if slices.ContainsFunc(s.Needs, func(n int) bool { return n < 0 || n >= s.Index }) {
				t.Fatalf("stage %d needs %v", s.Index, s.Needs)
			}
			for _, i := range s.Instructions {
				exercise(t, file, i)
			}
		}
	})
}

// exercise calls all that a build asks of an instruction.
func exercise(t *testing.T, file *dockerfile.File, i dockerfile.Instruction) {
	t.Helper()
	if i.Line < 1 || i.EndLine < i.Line || strings.Contains(i.Place("f"), "\n") {
		t.Fatalf("%+v", i)
	}
	_ = i.CheckSupported("f", nil)
	cmd, err := file.Expander().Command(i.Cmd, []string{"A=1"})
	if err != nil {
		return
	}
	var facts dockerfile.Facts
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		facts.Args, _, _ = dockerfile.RunArgs(c, nil)
	case *instructions.ArgCommand:
		facts.Declared, _ = file.Args(c, nil)
	case *instructions.OnbuildCommand:
		_, _ = dockerfile.ParseTrigger(c.Expression)
	}
	_ = dockerfile.CreatedBy(cmd, facts)
}

// Named contexts put stages in the place of others. Whatever leads where, the
// stages that are needed come in an order in which each finds what it needs.
func FuzzContexts(f *testing.F) {
	const three = "FROM x AS a\nFROM a AS b\nCOPY --from=c / /\nFROM scratch AS c\nRUN --mount=from=b,target=/x a\n"
	for _, seed := range [][3]string{
		{three, "c", "a"}, {three, "c", "b"}, {three, "x", "c"}, {three, "a", "a"}, {three, "b", "0"}, {three, "x", ""}, {"FROM x\n", "x", "y"},
	} {
		f.Add([]byte(seed[0]), seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, src []byte, name, stage string) {
		file, err := dockerfile.Parse("Dockerfile", src, dockerfile.Options{Contexts: map[string]string{name: stage}})
		if err != nil {
			return
		}
		stages, err := file.Needed("")
		if err != nil {
			t.Fatal(err)
		}
		built := map[int]bool{}
		for _, s := range stages {
			for _, n := range s.Needs {
				if !built[n] {
					t.Fatalf("stage %d comes before %d, which it needs", s.Index, n)
				}
			}
			if built[s.Index] {
				t.Fatalf("stage %d comes twice", s.Index)
			}
			built[s.Index] = true
		}
	})
}
