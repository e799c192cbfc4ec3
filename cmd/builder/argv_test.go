package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestCanonicalReadsFlagsAsDockerDoes(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"flags behind arguments", "bud . -t x", "bud -t=x -- ."},
		{"flags on both sides", "bud -q . --tag x --tag=y", "bud -q=true --tag=x --tag=y -- ."},
		{"a value that is joined", "bud -tnginx:v2 .", "bud -t=nginx:v2 -- ."},
		{"a value behind an equals sign", "bud -t=x .", "bud -t=x -- ."},
		{"an empty value", "bud --label= .", "bud --label= -- ."},
		{"a value with equals signs", "bud --build-arg A=b=c .", "bud --build-arg=A=b=c -- ."},
		{"a value that looks like a flag", "bud -t -q .", "bud -t=-q -- ."},
		{"both names of a flag", "bud -t a --tag b .", "bud -t=a -t=b -- ."},
		{"bundled flags", "run -it -e A=b x", "run -i=true -t=true -e=A=b -- x"},
		{"bundled flags, the last with a value", "run -ieA=b x", "run -i=true -e=A=b -- x"},
		{"a boolean that is off", "bud --rm=false .", "bud --rm=false -- ."},
		{"a double dash", "bud -q -- -t", "bud -q=true -- -t"},
		{"a dash alone is an argument", "import - x", "import -- - x"},
		{"run leaves the program's flags alone", "run --rm x ls -l --rm", "run --rm=true -- x ls -l --rm"},
		{"unshare leaves the command's flags alone", "unshare sh -c x", "unshare -- sh -c x"},
		{"run keeps a double dash of the program's", "run x -- y", "run -- x -- y"},
		{"-h of run is the host's name", "run -h name x", "run -h=name -- x"},
		{"global flags before the command", "--root /x images", "--root=/x images"},
		{"global flags behind the command", "images --root /x", "--root=/x images"},
		{"commands of commands", "completion bash", "completion bash"},
		{"help leaves no arguments", "bud . --help", "bud --help=true"},
		{"help", "help", "--help=true"},
		{"help of a command", "help bud", "bud --help=true"},
		{"help of a command's command", "help system check", "system check --help=true"},
		{"debug keeps the double dash", "debug -e A=b 12ab -- ls -l", "debug -e=A=b -- 12ab -- ls -l"},
		{"debug without a step", "debug --before -- ls", "debug --before=true -- -- ls"},
		{"debug's commands", "debug ls -q", "debug ls -q=true"},
		{"an alias", "build .", "build -- ."},
		{"nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			argv := append([]string{programName}, strings.Fields(test.line)...)
			before := slices.Clone(argv)
			got, err := canonical(newApp(io.Discard, io.Discard), argv)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(argv, before) {
				t.Errorf("the line itself became %q", argv)
			}
			if want := append([]string{programName}, strings.Fields(test.want)...); !slices.Equal(got, want) {
				t.Errorf("%q became %q, not %q", test.line, got, want)
			}
		})
	}
}

func TestCanonicalTellsWhatWasPerhapsMeant(t *testing.T) {
	tests := []struct{ line, err, remedy string }{
		{"buid .", "unknown command: builder buid", "did you mean builder build?"},
		{"imags", "unknown command: builder imags", "did you mean builder images?"},
		{"xyzzy", "unknown command: builder xyzzy", ""},
		{"help imags", "unknown command: builder imags", "did you mean builder images?"},
		{"completion bahs", "unknown command: builder completion bahs", "did you mean builder completion bash?"},
		{"bud --no-cahce .", "unknown flag: --no-cahce", "did you mean --no-cache?"},
		{"bud --rot /x .", "unknown flag: --rot", "did you mean --root?"},
		{"bud --xyzzy .", "unknown flag: --xyzzy", ""},
		{"bud -z .", "unknown shorthand flag in -z", ""},
		{"bud -qz .", "unknown shorthand flag in -qz", ""},
		{"bud . -t", "flag needs an argument: -t", ""},
		{"bud . --tag", "flag needs an argument: --tag", ""},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			_, err := canonical(newApp(io.Discard, io.Discard), append([]string{programName}, strings.Fields(test.line)...))
			if err == nil || err.Error() != test.err {
				t.Fatalf("the error is %v, not %q", err, test.err)
			}
			if meant, _, _ := strings.Cut(fault.Remedy(err), "\n"); test.remedy != "" && meant != test.remedy {
				t.Errorf("the remedy begins %q, not %q", meant, test.remedy)
			} else if test.remedy == "" && strings.Contains(meant, "did you mean") {
				t.Errorf("the remedy guesses: %q", meant)
			}
			if fault.Code(err) != fault.CodeOwn {
				t.Errorf("the exit code is %d", fault.Code(err))
			}
		})
	}
}
