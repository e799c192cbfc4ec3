package stage

import (
	"slices"
	"testing"

	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

func TestOfArgAndEnvTheLaterCounts(t *testing.T) {
	st := Scratch(&layout.ImageConfig{Config: layout.RunConfig{Env: []string{"A=base", "P=/bin"}}})
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	st.SetArg("A", "arg")
	st.SetArg("B", "1")
	st.SetArg("B", "2")
	st.declare("B")
	st.declare("C")
	check("ARG after ENV", st.Env(), "A=arg", "P=/bin", "B=2")
	check("the config", st.Config.Config.Env, "A=base", "P=/bin")
	check("history", st.BuildArgs(), "A=arg", "B=2", "C=")

	child := st.Descend()
	check("a stage above", child.Env(), "A=base", "P=/bin", "B=2")
	check("history above", child.BuildArgs(), "A=base", "B=2", "C=")

	if err := SetEnv([]Pair{{"A", "env"}})(&st); err != nil {
		t.Fatal(err)
	}
	check("ENV after ARG", st.Env(), "A=env", "P=/bin", "B=2")
	check("the stage above, still", child.Env(), "A=base", "P=/bin", "B=2")
}

func TestKeysOfARunTellPlatformsApart(t *testing.T) {
	seen := map[string]string{}
	for _, p := range []struct{ arch, variant, want string }{
		{"arm64", "", "linux/arm64"},
		{"arm64", "v8", "linux/arm64"},
		{"arm", "v6", "linux/arm/v6"},
		{"arm", "v7", "linux/arm/v7"},
		{"amd64", "", "linux/amd64"},
		{"", "", platform.Name(platform.Here())},
	} {
		st := Scratch(&layout.ImageConfig{OS: "linux", Architecture: p.arch, Variant: p.variant})
		if got := st.platform(); got != p.want {
			t.Errorf("%+v: %q", p, got)
		}
		st.define("run", Run{Args: []string{"true"}}.inputs(&Runner{}, &st))
		if other, known := seen[st.Definition.String()]; known && other != p.want {
			t.Errorf("%s has the key of %s", p.want, other)
		}
		seen[st.Definition.String()] = p.want
	}
	if len(seen) < 4 {
		t.Errorf("%d keys: %v", len(seen), seen)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	st := Scratch(&layout.ImageConfig{Config: layout.RunConfig{Env: []string{"A=1"}}})
	other := st.Clone()
	if err := SetEnv([]Pair{{"A", "2"}})(&other); err != nil {
		t.Fatal(err)
	}
	if st.Config.Config.Env[0] != "A=1" {
		t.Error("a change of the clone is seen in the original")
	}
}

func TestEntrypointDropsAnInheritedCmdOnly(t *testing.T) {
	inherited := Scratch(&layout.ImageConfig{Config: layout.RunConfig{Cmd: []string{"base"}}})
	if err := SetEntrypoint([]string{"e"})(&inherited); err != nil {
		t.Fatal(err)
	}
	if inherited.Config.Config.Cmd != nil {
		t.Errorf("the base's CMD %v is kept", inherited.Config.Config.Cmd)
	}
	parent := Scratch(&layout.ImageConfig{})
	if err := SetCmd([]string{"parent"})(&parent); err != nil {
		t.Fatal(err)
	}
	child := parent.Descend()
	if err := SetEntrypoint([]string{"e"})(&child); err != nil {
		t.Fatal(err)
	}
	if child.Config.Config.Cmd != nil {
		t.Errorf("the CMD %v of the stage below is kept", child.Config.Config.Cmd)
	}
	own := Scratch(&layout.ImageConfig{})
	for _, change := range []func(*State) error{SetCmd([]string{"c"}), SetEntrypoint([]string{"e"})} {
		if err := change(&own); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(own.Config.Config.Cmd, []string{"c"}) {
		t.Errorf("the stage's own CMD became %v", own.Config.Config.Cmd)
	}
}
