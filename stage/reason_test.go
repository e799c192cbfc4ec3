package stage

import (
	"fmt"
	"os"
	"slices"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
)

func TestWhatDiffersOfAnEntry(t *testing.T) {
	const sum, other = " sha256:aa", " sha256:bb"
	for _, c := range []struct {
		was, is string
		want    []string
	}{
		{"0 0644 0:0" + sum, "0 0644 0:0" + sum, nil},
		{"0 0644 0:0" + sum, "0 0644 0:0" + other, []string{"content"}},
		{"0 0644 0:0" + sum, "0 0755 1:1" + other, []string{"content", "mode", "owner"}},
		{"0 0644 0:0" + sum, "5 0755 0:0", []string{"type"}},
		{`2 0777 0:0 -> "a"`, `2 0777 0:0 -> "b"`, []string{"target or attributes"}},
		{`0 0644 0:0 "user.a"="b"` + sum, "0 0644 0:0" + sum, []string{"target or attributes"}},
		{`2 0777 0:0 -> "a sha256:x"`, `2 0777 0:0 -> "a sha256:y"`, []string{"target or attributes"}},
	} {
		if got := differences(c.was, c.is); !slices.Equal(got, c.want) {
			t.Errorf("%q, %q: %q", c.was, c.is, got)
		}
	}
}

// inputsOf gives a step's inputs with this environment.
func inputsOf(st *State, more ...cache.Input) []cache.Input {
	inputs := append([]cache.Input{{Name: "parent", Value: "p"}}, more...)
	for _, kv := range st.Env() {
		inputs = append(inputs, envInput("env:", kv[:1], kv[2:]))
	}
	return slices.Concat(inputs, slices.Collect(st.variables))
}

func TestChangesAreNamedWithWhatSetThem(t *testing.T) {
	st := &State{Config: &layout.ImageConfig{}}
	st.Config.Config.Env = []string{"E=1", "U=https://me:pass@host"}
	st.SetArg("A", "x")
	old := inputsOf(st, cache.Input{Name: "user", Value: "a"})
	st.Config.Config.Env = []string{"E=2", "U=https://me:other@host"}
	st.SetArg("A", "y")
	st.SetArg("N", "new")
	var r Reason
	r.compare(old, inputsOf(st, cache.Input{Name: "user", Value: "b"}))
	want := []Difference{
		{Kind: ChangedEnv, Name: "E", How: "changed", Old: "1", New: "2"},
		{Kind: ChangedEnv, Name: "U", How: "changed"},
		{Kind: ChangedArg, Name: "A", How: "changed", Old: "x", New: "y"},
		{Kind: ChangedArg, Name: "N", How: "added", New: "new"},
		{Kind: ChangedSetting, Name: "user", How: "changed", Old: "a", New: "b"},
	}
	if !slices.Equal(r.Changes, want) {
		t.Errorf("got %+v", r.Changes)
	}
}

func TestTheFirstTenFilesAreNamed(t *testing.T) {
	var now []cache.Input
	for i := range 25 {
		now = append(now, cache.Input{Name: fmt.Sprintf("file:%02d", i), Value: "0 0644 0:0"})
	}
	var r Reason
	r.compare(nil, now)
	if r.Files != 25 || len(r.Changes) != maxFiles || r.Changes[9].Name != "09" || r.Changes[9].How != "added" {
		t.Errorf("%d files, %+v", r.Files, r.Changes)
	}
}

func TestSecretLikeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"VERSION": false, "KEYBOARD": false, "AUTHOR": false, "PATH": false, "MONKEY": false,
		"API_TOKEN": true, "apikey": true, "SSH_KEY": true, "DB_PASSWORD": true, "NPM_AUTH": true, "SECRET": true,
	} {
		if secretLike(name, "v") != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestCauseOfAMiss(t *testing.T) {
	c := cache.Open(t.TempDir(), t.TempDir())
	for _, dir := range c.Dirs() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key := digest.FromString("now")
	j := &job{kind: "run", instruction: "RUN x", inputs: []cache.Input{{Name: "parent", Value: "sha256:p"}}}
	was := Former{Key: digest.FromString("then"), Parent: "sha256:p", Instruction: "RUN x"}
	for name, tc := range map[string]struct {
		change func(r *Runner, was *Former) *Former
		want   Cause
	}{
		"never built":     {func(*Runner, *Former) *Former { return nil }, CauseFirst},
		"new instruction": {func(*Runner, *Former) *Former { return &Former{} }, CauseNew},
		"same key":        {func(_ *Runner, was *Former) *Former { was.Key = key; return was }, CauseGone},
		"no cache":        {func(r *Runner, was *Former) *Former { r.NoCache = true; return was }, CauseNoCache},
		"no record":       {func(_ *Runner, was *Former) *Former { return was }, CauseForgotten},
		"another text":    {func(_ *Runner, was *Former) *Former { was.Instruction = "RUN y"; return was }, CauseChanged},
		"another parent":  {func(_ *Runner, was *Former) *Former { was.Parent = "sha256:q"; return was }, CauseChanged},
	} {
		former := was
		r := &Runner{Cache: c}
		got := tc.change(r, &former)
		r.Former = func(Place) *Former { return got }
		if reason := r.reason(Step{}, j, key); reason.Cause != tc.want {
			t.Errorf("%s: %+v", name, reason)
		}
	}
}
