package dockerfile_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// run parses a single RUN.
func run(t testing.TB, line string) *instructions.RunCommand {
	t.Helper()
	_, cmd := one(t, line)
	c, ok := cmd.(*instructions.RunCommand)
	if !ok {
		t.Fatalf("%T", cmd)
	}
	return c
}

func TestRunArgs(t *testing.T) {
	bash := []string{"/bin/bash", "-ec"}
	for _, test := range []struct {
		line   string
		shell  []string
		args   []string
		script string
	}{
		{"RUN echo  \"$A\" && \\\n  true", nil, []string{"/bin/sh", "-c", `echo  "$A" &&   true`}, ""},
		{"RUN echo x", bash, []string{"/bin/bash", "-ec", "echo x"}, ""},
		{`RUN ["/bin/echo", "$A"]`, bash, []string{"/bin/echo", "$A"}, ""},
		{"RUN <<EOF\necho a\necho $b\nEOF", nil, []string{"/bin/sh", "-c", "echo a\necho $b\n"}, ""},
		{"RUN <<-EOF\n\techo a\n\tEOF", nil, []string{"/bin/sh", "-c", "echo a\n"}, ""},
		{"RUN cat <<A - <<B\na\nA\nb\nB", nil, []string{"/bin/sh", "-c", "cat <<A - <<B\na\nA\nb\nB"}, ""},
		{"RUN python3 <<EOF\nprint(1)\nEOF", nil, []string{"/bin/sh", "-c", "python3 <<EOF\nprint(1)\nEOF"}, ""},
		{
			"RUN <<EOF\n#!/usr/bin/env python\nprint(1)\nEOF", nil,
			[]string{"/bin/sh", "-c", "/dev/pipes/EOF"},
			"/dev/pipes/EOF 755 #!/usr/bin/env python\nprint(1)\n",
		},
		{
			"RUN <<-EOF\n\t#!/bin/sed\n\tx\n\tEOF", nil,
			[]string{"/bin/sh", "-c", "/dev/pipes/EOF"},
			"/dev/pipes/EOF 755 #!/bin/sed\nx\n",
		},
		{"RUN <<EOF\nEOF", nil, []string{"/bin/sh", "-c", ""}, ""},
	} {
		args, script, err := dockerfile.RunArgs(run(t, test.line), test.shell)
		if err != nil || !slices.Equal(args, test.args) {
			t.Errorf("%s: %q, %v", test.line, args, err)
		}
		got := ""
		if script != nil {
			got = fmt.Sprintf("%s %o %s", script.Path, script.Mode, script.Data)
		}
		if got != test.script {
			t.Errorf("%s: script %q", test.line, got)
		}
	}
	for _, line := range []string{"RUN", "RUN []", "RUN --network=none"} {
		if args, _, err := dockerfile.RunArgs(run(t, line), nil); err == nil {
			t.Errorf("%s: %q", line, args)
		}
	}
}

func TestScriptStaysInItsDirectory(t *testing.T) {
	_, script, err := dockerfile.RunArgs(run(t, "RUN <<../../../bin/sh\n#!/bin/evil\n../../../bin/sh"), nil)
	if err != nil || script == nil || script.Path != "/dev/pipes/sh" {
		t.Errorf("%+v, %v", script, err)
	}
}

func TestCreatedByIsBuildKits(t *testing.T) {
	for _, test := range []struct {
		line  string
		facts dockerfile.Facts
		want  string
	}{
		{"RUN make", dockerfile.Facts{Args: []string{"/bin/sh", "-c", "make"}}, "RUN /bin/sh -c make # buildkit"},
		{
			"RUN make",
			dockerfile.Facts{Args: []string{"/bin/sh", "-c", "make"}, BuildArgs: []string{"A=1", "B=", "A=2"}},
			"RUN |2 A=2 B= /bin/sh -c make # buildkit",
		},
		{"COPY --from=nginx --link a b /c/", dockerfile.Facts{}, "COPY a b /c/ # buildkit"},
		{"ADD --chown=u:g --chmod=755 a.tar /", dockerfile.Facts{}, "ADD --chown=u:g --chmod=755 a.tar / # buildkit"},
		{"WORKDIR x", dockerfile.Facts{Dir: "/a/x"}, "WORKDIR /a/x"},
		{"CMD nginx -g", dockerfile.Facts{Args: []string{"nginx", "-g", "daemon off;"}}, `CMD ["nginx" "-g" "daemon off;"]`},
		{"ENTRYPOINT x", dockerfile.Facts{Args: []string{"/bin/sh", "-c", "x"}}, `ENTRYPOINT ["/bin/sh" "-c" "x"]`},
		{"EXPOSE 80 8443/tcp", dockerfile.Facts{}, "EXPOSE [80/tcp 8443/tcp]"},
		{"VOLUME /a /b", dockerfile.Facts{}, "VOLUME [/a /b]"},
		{"USER me", dockerfile.Facts{}, "USER me"},
		{"STOPSIGNAL SIGQUIT", dockerfile.Facts{}, "STOPSIGNAL SIGQUIT"},
		{`SHELL ["/bin/bash", "-c"]`, dockerfile.Facts{}, "SHELL [/bin/bash -c]"},
		{
			"HEALTHCHECK --interval=30s --timeout=3s CMD curl x",
			dockerfile.Facts{},
			`HEALTHCHECK &{["CMD-SHELL" "curl x"] "30s" "3s" "0s" "0s" '\x00'}`,
		},
		{"ARG A=1", dockerfile.Facts{Declared: []dockerfile.Arg{{Name: "A", Value: "1", Set: true}, {Name: "B"}}}, "ARG A=1 B"},
	} {
		_, cmd := one(t, test.line)
		if got := dockerfile.CreatedBy(cmd, test.facts); got != test.want {
			t.Errorf("%s: %s, want %s", test.line, got, test.want)
		}
	}
}
