package dockerfile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// one parses a single instruction.
func one(t testing.TB, line string) (*dockerfile.File, instructions.Command) {
	t.Helper()
	f := parse(t, "FROM x\n"+line+"\n", dockerfile.Options{})
	return f, f.Stages[0].Instructions[0].Cmd
}

func TestWordsExpandAsDockerHasIt(t *testing.T) {
	x := parse(t, "FROM x\n", dockerfile.Options{}).Expander()
	env := []string{"A=old", "A=a b", "E=", "P=foo.tar.gz", "U=üx"}
	for word, want := range map[string]string{
		"plain": "plain", "$A": "a b", "${A}": "a b", "$NONE": "", "x${NONE}y": "xy",
		"${E-d}": "", "${E:-d}": "d", "${NONE:-$A}": "a b", "${A:+set}": "set", "${NONE:+set}": "",
		"${P%.*}": "foo.tar", "${P%%.*}": "foo", "${P#*.}": "tar.gz", "${P##*.}": "gz", "${P/tar/zip}": "foo.zip.gz",
		`\$A`: "$A", `'$A'`: "$A", `"$A"`: "a b", "$": "$", `a\ b`: "a b", "$U": "üx",
	} {
		if got, err := x.Word(word, env); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", word, got, err, want)
		}
	}
	if got, err := x.Words(`$A "$A" c`, env); !slices.Equal(got, []string{"a", "b", "a b", "c"}) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for word, want := range map[string]string{
		"${": "missing '}'", "${NONE:?is needed}": "NONE: is needed", "${A:q}": "unsupported modifier", "'": "single-quote",
	} {
		_, err := x.Word(word, env)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "failed to") {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestInstructionsExpandTheirWordsOnly(t *testing.T) {
	env := []string{"A=1", "D=/dir", "P=80 443", "S=TERM", "W=a b"}
	for line, want := range map[string]string{
		"ENV X=$A Y=\"$W\" $A=z":              "ENV X=1 Y=a b 1=z",
		"ENV A=2 B=$A":                        "ENV A=2 B=1",
		"LABEL l=$A":                          "LABEL l=1",
		"WORKDIR $D/x":                        "WORKDIR /r",
		"USER $A:$A":                          "USER 1:1",
		"VOLUME $D [x":                        "VOLUME [/dir [x]",
		"STOPSIGNAL SIG$S":                    "STOPSIGNAL SIGTERM",
		"EXPOSE $P 90/UDP":                    "EXPOSE [80/tcp 443/tcp 90/udp]",
		"COPY --chown=$A $D/a b $D/":          "COPY --chown=1 /dir/a b /dir/ # buildkit",
		"ADD --chmod=$A a $D":                 "ADD --chmod=1 a /dir # buildkit",
		"COPY [\"$W\", \"to here\"]":          "COPY a b to here # buildkit",
		"COPY <<x.txt $D\n$A\nx.txt":          "COPY <<x.txt /dir # buildkit",
		"SHELL [\"$A\"]":                      "SHELL [$A]",
		"MAINTAINER $A":                       "MAINTAINER $A",
		"ONBUILD RUN $A":                      "",
		"HEALTHCHECK --retries=3 CMD echo $A": `HEALTHCHECK &{["CMD-SHELL" "echo $A"] "0s" "0s" "0s" "0s" '\x03'}`,
	} {
		f, cmd := one(t, line)
		before := fmt.Sprintf("%+v", cmd)
		got, err := f.Expander().Command(cmd, env)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if text := dockerfile.CreatedBy(got, dockerfile.Facts{Dir: "/r"}); text != want {
			t.Errorf("%s: %s, want %s", line, text, want)
		}
		if after := fmt.Sprintf("%+v", cmd); after != before {
			t.Errorf("%s: changed to %s", before, after)
		}
	}
}

func TestUnquotedHeredocOfCopyExpands(t *testing.T) {
	for line, want := range map[string]string{
		"COPY <<EOF /x\n$A 'q' \"$A\" \\$A\nEOF": "1 'q' \"1\" $A\n",
		"COPY <<'EOF' /x\n$A \\$A\nEOF":          "$A \\$A\n",
		"COPY <<-EOF /x\n\t\ttabs $A\n\tEOF":     "tabs 1\n",
	} {
		f, cmd := one(t, line)
		got, err := f.Expander().Command(cmd, []string{"A=1"})
		if err != nil {
			t.Fatal(err)
		}
		c, ok := got.(*instructions.CopyCommand)
		if !ok || len(c.SourceContents) != 1 || c.SourceContents[0].Data != want || c.SourceContents[0].Path != "EOF" {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestValuesThatMakeNoSenseAreErrors(t *testing.T) {
	for line, want := range map[string]string{
		"VOLUME $NONE": "a volume's path is empty", "ENV $NONE=x": "a name is empty",
		"STOPSIGNAL SIGNONE": `"SIGNONE" is no signal`, "STOPSIGNAL 65": "is no signal",
		"EXPOSE 80/ip": "tcp, udp or sctp", "EXPOSE 70000": "no number from 0 to 65535", "EXPOSE 9-8": "runs backwards", "EXPOSE x-": "no number",
		"EXPOSE web:80": "no number", "EXPOSE 1.2.3:8080:80": "is no address", "EXPOSE 1-3:80-81": "more or fewer", "EXPOSE /tcp": "no number",
		"COPY https://example.org/x /": "COPY reads files only", "USER ${x": "missing '}'",
	} {
		f, cmd := one(t, line)
		if got, err := f.Expander().Command(cmd, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", line, got, err)
		}
	}
	for _, line := range []string{
		"STOPSIGNAL 9", "STOPSIGNAL term", "STOPSIGNAL SIGRTMIN+3", "STOPSIGNAL RTMAX-14", "EXPOSE 1000-1001/sctp", "EXPOSE 8080:80",
		"EXPOSE [::1]:8080:80 ::1::80 8000-8010:80 8000-8001:80-81 80/", "WORKDIR $NONE",
	} {
		f, cmd := one(t, line)
		if _, err := f.Expander().Command(cmd, nil); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestExposedPorts(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"EXPOSE 80", "80/tcp"},
		{"EXPOSE 8000-8002/udp", "8000/udp 8001/udp 8002/udp"},
		{"EXPOSE 127.0.0.1:8080:80/TCP 53/udp", "53/udp 80/tcp"},
	} {
		_, cmd := one(t, test.line)
		c, ok := cmd.(*instructions.ExposeCommand)
		if !ok {
			t.Fatalf("%T", cmd)
		}
		got, err := dockerfile.ExposedPorts(c)
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, %v", test.line, got, err)
		}
	}
}

func TestArgsTakeTheirValueFromTheNearest(t *testing.T) {
	f := parse(t, "ARG GLOBAL=g\nARG GIVEN=default\nARG NAKED\nFROM x\n"+
		"ARG GLOBAL GIVEN=mine OWN=o-$E SECOND=$OWN NAKED TARGETARCH GLOBAL2=${GLOBAL}\n",
		dockerfile.Options{BuildArgs: map[string]string{"GIVEN": "cli", "TARGETARCH": "riscv64"}})
	cmd, ok := f.Stages[0].Instructions[0].Cmd.(*instructions.ArgCommand)
	if !ok {
		t.Fatalf("%T", f.Stages[0].Instructions[0].Cmd)
	}
	args, err := f.Args(cmd, []string{"E=env"})
	if err != nil {
		t.Fatal(err)
	}
	want := []dockerfile.Arg{
		{Name: "GLOBAL", Value: "g", Set: true},
		{Name: "GIVEN", Value: "cli", Set: true},
		{Name: "OWN", Value: "o-env", Set: true},
		{Name: "SECOND", Value: "o-env", Set: true},
		{Name: "NAKED"},
		{Name: "TARGETARCH", Value: "riscv64", Set: true},
		{Name: "GLOBAL2", Value: "g", Set: true},
	}
	if !slices.Equal(args, want) {
		t.Errorf("got  %+v\nwant %+v", args, want)
	}
	if v, _ := f.MetaArg("GIVEN"); v != "cli" {
		t.Errorf("GIVEN is %q above FROM", v)
	}
	got := dockerfile.CreatedBy(cmd, dockerfile.Facts{Declared: args})
	if got != "ARG GLOBAL=g GIVEN=cli OWN=o-env SECOND=o-env NAKED TARGETARCH=riscv64 GLOBAL2=g" {
		t.Error(got)
	}
}
