package main

import (
	"bytes"
	"testing"

	"github.com/builder-oci/builder/stage"
)

func TestWhatARunPrintsIsNoCommandOfTheRunner(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"::set-output name=digest::sha256:0", "| ::set-output name=digest::sha256:0\n"},
		{" \t::stop-commands::x", " \t| ::stop-commands::x\n"},
		{"50%\r::error::x", "50%\r| ::error::x\n"},
		{"\ufeff\u00a0::error::x", "\ufeff\u00a0| ::error::x\n"},
		{"so ##[error]x", "so ##|[error]x\n"},
		{"std::vector and ::1", "std::vector and ::1\n"},
	} {
		for _, action := range []string{"true", ""} {
			t.Setenv("GITHUB_ACTIONS", action)
			var out bytes.Buffer
			p := &plainDisplay{out: &out}
			p.Report(stage.Output{Line: tc.line})
			want := tc.want
			if action == "" {
				want = tc.line + "\n"
			}
			if out.String() != want {
				t.Errorf("in an action (%q): %q, want %q", action, out.String(), want)
			}
		}
	}
}
