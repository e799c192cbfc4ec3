package dockerfile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func parse(t testing.TB, src string, o dockerfile.Options) *dockerfile.File {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", []byte(src), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return f
}

func TestParseGivesTypedStages(t *testing.T) {
	f := parse(t, `# syntax=docker/dockerfile:1.7
ARG BASE=debian
ARG VERSION
FROM --platform=$BUILDPLATFORM golang:1.25 AS Build
WORKDIR /src
COPY go.mod \
     # a comment in between
     go.sum ./
RUN go build ./...

FROM ${BASE}:${VERSION:-12}
COPY --from=build /src/app /app
COPY --from=0 /src/LICENSE /
COPY --from=nginx:1 /etc/nginx /etc/nginx
FROM build
RUN <<EOF
echo hello
EOF
CMD ["app"]
`, dockerfile.Options{
		Platform:      v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
		BuildPlatform: v1.Platform{OS: "linux", Architecture: "amd64"},
	})
	var got []string
	for _, s := range f.Stages {
		got = append(got, fmt.Sprintf("%d %s=%s(%d) %s line %d needs %v steps %d",
			s.Index, s.Name, s.Base, s.BaseStage, platform.Name(s.Platform), s.Line, s.Needs, s.TotalSteps()))
		for _, i := range s.Instructions {
			got = append(got, fmt.Sprintf("  %d-%d %T %q from %d %q docs %d",
				i.Line, i.EndLine, i.Cmd, i.Original, i.FromStage, i.FromImage, len(i.Heredocs)))
		}
	}
	want := []string{
		`0 build=golang:1.25(-1) linux/amd64 line 4 needs [] steps 4`,
		`  5-5 *instructions.WorkdirCommand "WORKDIR /src" from -1 "" docs 0`,
		`  6-8 *instructions.CopyCommand "COPY go.mod      go.sum ./" from -1 "" docs 0`,
		`  9-9 *instructions.RunCommand "RUN go build ./..." from -1 "" docs 0`,
		`1 =debian:12(-1) linux/arm/v7 line 11 needs [0] steps 4`,
		`  12-12 *instructions.CopyCommand "COPY --from=build /src/app /app" from 0 "" docs 0`,
		`  13-13 *instructions.CopyCommand "COPY --from=0 /src/LICENSE /" from 0 "" docs 0`,
		`  14-14 *instructions.CopyCommand "COPY --from=nginx:1 /etc/nginx /etc/nginx" from -1 "nginx:1" docs 0`,
		`2 =build(0) linux/amd64 line 15 needs [0] steps 3`,
		`  16-18 *instructions.RunCommand "RUN <<EOF" from -1 "" docs 1`,
		`  19-19 *instructions.CmdCommand "CMD [\"app\"]" from -1 "" docs 0`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, want := range map[string]string{
		"TARGETPLATFORM": "linux/arm/v7", "TARGETARCH": "arm", "TARGETVARIANT": "v7",
		"BUILDOS": "linux", "TARGETSTAGE": "default", "BASE": "debian",
	} {
		if v, ok := f.MetaArg(name); v != want || !ok {
			t.Errorf("%s is %q", name, v)
		}
	}
	if _, ok := f.MetaArg("VERSION"); ok {
		t.Error("VERSION has a value")
	}
}

func TestEscapeDirective(t *testing.T) {
	f := parse(t, "# escape=`\nFROM scratch\nCOPY a `\n  b c:\\dir\\\n", dockerfile.Options{})
	if f.Escape != '`' || len(f.Stages[0].Instructions) != 1 {
		t.Fatalf("%q, %d instructions", f.Escape, len(f.Stages[0].Instructions))
	}
	c, ok := f.Stages[0].Instructions[0].Cmd.(*instructions.CopyCommand)
	if !ok || c.DestPath != `c:\dir\` {
		t.Errorf("%#v", f.Stages[0].Instructions[0].Cmd)
	}
}

func TestSyntaxDirective(t *testing.T) {
	for image, fine := range map[string]bool{
		"docker/dockerfile": true, "docker/dockerfile:1": true, "docker.io/docker/dockerfile:1.7-labs": true,
		"docker/dockerfile-upstream:master": true, "mirror.corp:5000/hub/docker/dockerfile:1": true,
		"docker/dockerfile@sha256:ac85f380a63b13dfcefa89046420e1781752bab202122f8f50032edf31be0021": true,
		"someone/dockerfile": false, "docker/dockerfile-x": false, "nixpacks": false, "UPPER/dockerfile": false,
	} {
		src := []byte("\ufeff# syntax=" + image + "\nFROM scratch\n")
		_, err := dockerfile.Parse("Dockerfile", src, dockerfile.Options{})
		if (err == nil) != fine {
			t.Errorf("%s: %v", image, err)
		}
		if err != nil && (fault.Remedy(err) == "" || !strings.HasPrefix(err.Error(), "Dockerfile:1: # syntax="+image)) {
			t.Errorf("%v (%s)", err, fault.Remedy(err))
		}
	}
}

func TestParseSaysWhereAndWhy(t *testing.T) {
	for _, test := range []struct{ about, src, want, remedy string }{
		{"empty", "", "Dockerfile: the file is empty", "FROM"},
		{"blank", " \n\t\n", "Dockerfile: the file is empty", "FROM"},
		{"only comments", "# x\n# y\n", "Dockerfile: it holds comments only, no instruction", "FROM"},
		{"only ARG", "ARG A=1\n", "Dockerfile: there is no FROM in it", "FROM"},
		{"UTF-16", "\xff\xfeF\x00", "Dockerfile: the file is UTF-16 text", "UTF-8"},
		{"binary", "\x7fELF\x00\x01", "Dockerfile: the file is binary", "--file"},
		{"RUN first", "ARG A\nRUN make\nFROM x\n", "Dockerfile:2: RUN make: RUN stands before the first FROM, where only ARG may", "FROM"},
		{"misspelt", "FROM x\n\nRUNN make\n", "Dockerfile:3: RUNN make: unknown instruction RUNN", "did you mean RUN?"},
		{"letters in another order", "FROM x\nRNU make\n", "Dockerfile:2: RNU make: unknown instruction RNU", "did you mean RUN?"},
		{"unknown network", "FROM x\nRUN --network=hst a\n", `Dockerfile:2: RUN --network=hst a: invalid network mode "hst"`, "default, none or host"},
		{"no duration", "FROM x\nHEALTHCHECK --interval=1x CMD a\n", "Dockerfile:2: HEALTHCHECK --interval=1x CMD a: time: unknown unit", "such as 30s"},
		{"misspelt in lower case", "form x\n", "Dockerfile:1: form x: unknown instruction FORM", "did you mean FROM?"},
		{
			"lost continuation", "FROM x\nRUN a &&\n  apt-get install b\n",
			"Dockerfile:3: apt-get install b: unknown instruction APT-GET", "end that one's line with \\",
		},
		{
			"unknown flag", "FROM x\nCOPY --chwn=1 a b\n",
			"Dockerfile:2: COPY --chwn=1 a b: unknown flag: --chwn (did you mean chown?)", "",
		},
		{
			"letters of a flag in another order", "FROM x\nCOPY --chwon=1 a b\n",
			"Dockerfile:2: COPY --chwon=1 a b: unknown flag: --chwon (did you mean chown?)", "",
		},
		{
			"flag that no other is like", "FROM x\nWORKDIR --xyz=1 a\n",
			"Dockerfile:2: WORKDIR --xyz=1 a: unknown flag: --xyz", "",
		},
		{"flag without value", "FROM x\nCOPY --chown a b\n", "Dockerfile:2: COPY --chown a b: missing a value on flag: --chown", ""},
		{"flag twice", "FROM x\nCOPY --from=a --from=b a b\n", "duplicate flag specified: --from", ""},
		{"too few arguments", "FROM x\nCOPY a\n", "Dockerfile:2: COPY a: COPY requires at least two arguments", "last, the destination"},
		{"FROM with two words", "FROM x y\n", "Dockerfile:1: FROM x y: FROM requires either one or three arguments", "FROM IMAGE AS NAME"},
		{"bad stage name", "FROM x AS 1st\n", "Dockerfile:1: FROM x AS 1st: invalid name for build stage", "begin it with a letter"},
		{"ENV without value", "FROM x\nENV A\n", "Dockerfile:2: ENV A: ENV must have two arguments", "write ENV NAME=VALUE"},
		{
			"heredoc without end", "FROM x\nRUN <<END\necho\n END\n",
			`Dockerfile:2: RUN <<END: the here-document has no end: no line is just "END"`, "put END alone on a line",
		},
		{"second heredoc without end", "FROM x\nCOPY <<A <<\"B\" /\nA\n", `no line is just "B"`, "put B alone"},
		{"escape", "# escape=x\nFROM x\n", `Dockerfile:1: # escape=x: "x" can't be the escape character`, "choose"},
		{
			"directive twice", "# syntax=docker/dockerfile:1\n# syntax=docker/dockerfile:1\nFROM x\n",
			"Dockerfile:2: # syntax=docker/dockerfile:1: only one syntax parser directive can be used", "",
		},
		{"ONBUILD ONBUILD", "FROM x\nONBUILD ONBUILD RUN a\n", "Dockerfile:2: ONBUILD ONBUILD RUN a: chaining ONBUILD", ""},
		{
			"undeclared ARG in FROM", "ARG TAG\nFROM $BASE\n",
			`Dockerfile:2: FROM $BASE: the base name "$BASE" is empty: BASE has no value here`, "ARG BASE=",
		},
		{
			"ARG without value in a tag", "ARG TAG\nFROM debian:${TAG}\n",
			`"debian:${TAG}" becomes "debian:", which is no image name: TAG has no value here`, "--build-arg TAG=",
		},
		{"ARG of an earlier stage", "FROM x\nARG B=y\nFROM $B\n", "Dockerfile:3: FROM $B: the base name", "above the first FROM"},
		{"empty platform", "FROM --platform=$P x\n", `the platform "$P" is empty: P has no value here`, ""},
		{"bad substitution", "FROM ${x\n", "Dockerfile:1: FROM ${x: ", ""},
		{"bad substitution in ARG", "ARG A=${x\nFROM y\n", "Dockerfile:1: ARG A=${x: ", ""},
		{"stage that reads itself", "FROM x AS a\nCOPY --from=a b c\n", `Dockerfile:2: COPY --from=a b c: stage "a" can't read itself`, "earlier"},
		{"stage that comes later", "FROM x AS a\nCOPY --from=b / /\nFROM y AS b\n", `stage "b" comes only later, at line 3`, "move stage b"},
		{"index that comes later", "FROM x\nCOPY --from=0 a b\n", "there is no stage 0 before this one", "counted from 0"},
		{"variable in --from", "FROM x\nCOPY --from=$S a b\n", "--from takes no variables", "FROM $S AS a-name"},
		{
			"long text is shortened", "FROM x\nCOPY --form=1 " + strings.Repeat("long ", 50) + "\n",
			"Dockerfile:2: COPY --form=1 long long long long long long long long long…: unknown", "",
		},
	} {
		_, err := dockerfile.Parse("Dockerfile", []byte(test.src), dockerfile.Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(fault.Remedy(err), test.remedy) {
			t.Errorf("%s:\n got  %v (%s)\n want %s (%s)", test.about, err, fault.Remedy(err), test.want, test.remedy)
		}
		var e *fault.Error
		if err != nil && (!errors.As(err, &e) || e.Place == "") {
			t.Errorf("%s: %T without a place", test.about, err)
		}
	}
}

func TestLongestLine(t *testing.T) {
	for length, fine := range map[int]bool{65534: true, 65535: false, 200000: false} {
		src := "FROM x\nRUN <<E\n" + strings.Repeat("x", length) + "\nE\n"
		_, err := dockerfile.Parse("Dockerfile", []byte(src), dockerfile.Options{})
		if (err == nil) != fine || err != nil && !strings.HasPrefix(err.Error(), "Dockerfile:3: xxx") {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

func TestFrontEndByBuildArgIsCheckedToo(t *testing.T) {
	o := dockerfile.Options{BuildArgs: map[string]string{"BUILDKIT_SYNTAX": "my/frontend"}}
	_, err := dockerfile.Parse("Dockerfile", []byte("FROM x\n"), o)
	if err == nil || !strings.Contains(err.Error(), "BUILDKIT_SYNTAX") {
		t.Error(err)
	}
}

func TestNeeded(t *testing.T) {
	f := parse(t, `FROM a AS base
FROM base AS unused
FROM b AS assets
FROM base AS build
COPY --from=Assets / /
FROM c
FROM d AS final
COPY --from=build / /
RUN --mount=type=bind,from=4 true
FROM final AS last
`, dockerfile.Options{})
	for target, want := range map[string]string{
		"": "0 2 3 4 5 6", "LAST": "0 2 3 4 5 6", "final": "0 2 3 4 5", "build": "0 2 3", "unused": "0 1", "base": "0", "4": "4",
	} {
		stages, err := f.Needed(target)
		var got []string
		for _, s := range stages {
			got = append(got, fmt.Sprint(s.Index))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s (%v)", target, got, want, err)
		}
	}
	for target, remedy := range map[string]string{
		"biuld": "did you mean build? its stages are: base, unused, assets, build, final, last",
		"7":     "its stages are:", "-1": "its stages are:",
	} {
		if _, err := f.Needed(target); err == nil || !strings.Contains(fault.Remedy(err), remedy) {
			t.Errorf("%q: %v (%s)", target, err, fault.Remedy(err))
		}
	}
	_, err := parse(t, "FROM a\nFROM b\n", dockerfile.Options{}).Needed("x")
	if err == nil || !strings.Contains(fault.Remedy(err), "index from 0 to 1") {
		t.Errorf("%v (%s)", err, fault.Remedy(err))
	}
}

func TestStageNamesAreThoseAbove(t *testing.T) {
	f := parse(t, "FROM debian AS debian\nFROM debian AS debian\nFROM debian\nCOPY --from=debian / /\n", dockerfile.Options{})
	var got []int
	for _, s := range f.Stages {
		got = append(got, s.BaseStage)
	}
	if !slices.Equal(got, []int{-1, 0, 1}) || f.Stages[2].Instructions[0].FromStage != 1 {
		t.Errorf("%v, --from %d", got, f.Stages[2].Instructions[0].FromStage)
	}
}

func TestTriggers(t *testing.T) {
	f := parse(t, "FROM x AS a\nFROM y\n", dockerfile.Options{})
	got, err := f.Triggers(f.Stages[1], []string{"COPY . /app", "COPY --from=a /b /c", "RUN <<EOF\necho\nEOF", "ENV A=$B"})
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, i := range got {
		if !i.Trigger || i.Line != 2 || i.EndLine != 2 {
			t.Errorf("%+v", i)
		}
	}
	if got[1].FromStage != 0 || len(got[2].Heredocs) != 1 || got[0].Place("Dockerfile") != "Dockerfile:2: COPY . /app" {
		t.Errorf("%+v", got)
	}
	for trigger, want := range map[string]string{
		"FROM z": "FROM isn't allowed", "maintainer me": "MAINTAINER isn't allowed", "ONBUILD RUN a": "ONBUILD isn't allowed",
		"RUN a\nRUN b": "more than one instruction", "NONSENSE": "unknown instruction", "": "no instructions", "COPY a": "COPY requires",
	} {
		_, err := f.Triggers(f.Stages[1], []string{trigger})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Dockerfile:2: FROM y: ") {
			t.Errorf("%q: %v", trigger, err)
		}
	}
}

func TestTextOfOnbuildIsATrigger(t *testing.T) {
	f := parse(t, "FROM x\nONBUILD RUN <<EOF\necho \"$A\"\nEOF\nonbuild COPY . /\n", dockerfile.Options{})
	for i, want := range []string{"RUN <<EOF\necho \"$A\"\nEOF", "COPY . /"} {
		c, ok := f.Stages[0].Instructions[i].Cmd.(*instructions.OnbuildCommand)
		if !ok || c.Expression != want {
			t.Errorf("%#v", f.Stages[0].Instructions[i].Cmd)
			continue
		}
		if _, err := dockerfile.ParseTrigger(c.Expression); err != nil {
			t.Error(err)
		}
	}
}

func TestUnsupportedIsNamedWithItsLine(t *testing.T) {
	for line, want := range map[string]string{
		"RUN --mount=type=cache,target=/x make":        "",
		"RUN --security=insecure make":                 "",
		"RUN --device=gpu make":                        "RUN --device",
		"COPY --chmod=${M:-0755} a b":                  "",
		"ADD --keep-git-dir=true https://h/r.git b":    "",
		"ADD a https://example.org/f.tar b":            "",
		"ADD git://host/r b":                           "",
		"RUN --network=none make":                      "",
		"RUN --network=host --security=sandbox make":   "",
		"COPY --chown=1:1 --chmod=0755 --from=img a b": "",
		"ADD --chown=a --chmod=644 a.tar b c/":         "",
		"COPY --link=false --parents=false a b":        "",
		"COPY <<EOF /x\nhi\nEOF":                       "",
		"HEALTHCHECK --interval=5s CMD true":           "",
		"ADD github.com/looks/local file:///x odd@x /": "",
	} {
		ins := parse(t, "FROM x\n"+line+"\n", dockerfile.Options{}).Stages[0].Instructions[0]
		what, bad := dockerfile.Unsupported(ins.Cmd)
		if what != want || bad != (want != "") {
			t.Errorf("%s: %q, want %q", line, what, want)
		}
		err := ins.CheckSupported("Dockerfile", nil)
		if (err != nil) != bad {
			t.Errorf("%s: %v", line, err)
		}
		if bad && (!strings.HasPrefix(err.Error(), "Dockerfile:2: ") || !strings.HasSuffix(err.Error(), want+" is not supported yet")) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
