package stage

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage/sshagent"
	"github.com/builder-oci/builder/storage/layout"
)

func TestFailedCommandIsALineForAShell(t *testing.T) {
	bash := []string{"/bin/bash", "-c"}
	for _, c := range []struct {
		want        string
		shell, args []string
	}{
		{"make && make install", bash, []string{"/bin/bash", "-c", "make && make install"}},
		{"echo $HOME", nil, []string{"/bin/sh", "-c", "echo $HOME"}},
		{`/bin/sh -c 'echo x'`, bash, []string{"/bin/sh", "-c", "echo x"}},
		{`prog 'two words' ''`, bash, []string{"prog", "two words", ""}},
		{`prog 'it'\''s'`, nil, []string{"prog", "it's"}},
	} {
		run := failedRun{Shell: c.shell, Spec: sandbox.Spec{Args: c.args}}
		if got := (&FailedStep{run: run}).Command(); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

func TestMountsAreKeptWhole(t *testing.T) {
	id := uint32(5)
	for _, m := range []Mount{
		BindMount{Target: "/a", Source: "b", ReadOnly: true},
		CacheMount{Target: "/a", ID: "i", Sharing: "locked", Source: "s", Owner: Owner{UID: &id, Mode: &id}},
		TmpfsMount{Target: "/a", Size: 5},
		SecretMount{ID: "i", Target: "/a", Env: "E", Required: true, Owner: Owner{GID: &id}},
		SSHMount{ID: "i", Target: "/a", Required: true},
		HostMount{Source: "/s", Target: "/a", ReadOnly: true},
	} {
		kept, err := keepMount(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := kept.open(nil)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v, not %+v: %v", got, m, err)
		}
	}
}

func TestBuildArgumentsThatMayBeSecretsAreNotKept(t *testing.T) {
	st := Scratch(&layout.ImageConfig{})
	st.Config.Config.Env = []string{"PATH=/bin", "MY_TOKEN=an image's"}
	st.SetArg("API_TOKEN", "hidden")
	st.SetArg("VERSION", "1")
	env, withheld := st.openEnv("/root")
	if got := strings.Join(env, " "); got != "PATH=/bin MY_TOKEN=an image's VERSION=1 HOME=/root" {
		t.Error(got)
	}
	if strings.Join(withheld, " ") != "API_TOKEN" {
		t.Error(withheld)
	}
	s := &FailedStep{run: failedRun{Withheld: withheld}}
	s.run.Spec.Env = env
	var told error
	debug := Debug{Note: func(err error) { told = err }}
	if s.env(debug); told == nil || !strings.Contains(told.Error(), "API_TOKEN") {
		t.Errorf("told %v", told)
	}
	told, debug.BuildArgs = nil, map[string]string{"API_TOKEN": "again", "OTHER": "x"}
	if got := strings.Join(s.env(debug), " "); told != nil || !strings.HasSuffix(got, "API_TOKEN=again") {
		t.Errorf("%s, told %v", got, told)
	}
}

func TestSecretsOfAFailedStepAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	s := &FailedStep{run: failedRun{Secrets: map[string]Secret{"key": {File: file}}, SSH: map[string]sshagent.Access{}}}
	err := s.settleSecrets(&Settings{})
	if err == nil || !strings.Contains(fault.Remedy(err), "--secret id=key,src=FILE") {
		t.Errorf("%v", err)
	}
	given := Settings{Secrets: map[string]Secret{"key": {Env: "GIVEN"}, "more": {Env: "MORE"}}}
	if err := s.settleSecrets(&given); err != nil || given.Secrets["key"].Env != "GIVEN" || given.Secrets["more"].Env != "MORE" {
		t.Errorf("%v, %v", given.Secrets, err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var now Settings
	if err := s.settleSecrets(&now); err != nil || now.Secrets["key"].File != file {
		t.Errorf("%v, %v", now.Secrets, err)
	}
}
