package stage

import (
	"slices"
	"testing"

	"github.com/builder-oci/builder/storage/layout"
)

func TestEnvHidesArgsOfTheSameName(t *testing.T) {
	st := Scratch(&layout.ImageConfig{Config: layout.RunConfig{Env: []string{"A=env"}}})
	st.SetArg("A", "arg")
	st.SetArg("B", "1")
	st.SetArg("B", "2")
	if got, want := st.Env(), []string{"A=env", "B=2"}; !slices.Equal(got, want) {
		t.Errorf("Env() = %v, want %v", got, want)
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
