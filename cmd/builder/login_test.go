package main

import (
	"flag"
	"slices"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestCredsGoByTheEnvironment(t *testing.T) {
	for what, tt := range map[string]struct{ args, want []string }{
		"apart":    {[]string{"builder", "run", "--creds", "me:secret", "app", "p", "--creds", "me:secret"}, []string{"builder", "run", "--creds", "********", "app", "p", "--creds", "me:secret"}},
		"together": {[]string{"builder", "bud", "--creds=me:secret", "."}, []string{"builder", "bud", "--creds=********", "."}},
		"none":     {[]string{"builder", "bud", "."}, []string{"builder", "bud", "."}},
	} {
		set := flag.NewFlagSet("", flag.ContinueOnError)
		set.String("creds", "", "")
		if what != "none" {
			if err := set.Set("creds", "me:secret"); err != nil {
				t.Fatal(err)
			}
		}
		got, env := hideCreds(cli.NewContext(nil, set, nil), tt.args, []string{"A=b"})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", what, got)
		}
		if slices.Contains(env, credsEnv+"=me:secret") == (what == "none") || env[0] != "A=b" {
			t.Errorf("%s: environment %q", what, env)
		}
	}
}
