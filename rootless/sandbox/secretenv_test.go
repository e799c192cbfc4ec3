package sandbox

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSecretVariablesWinAndAreNotKept(t *testing.T) {
	s := Spec{Env: []string{"A=1", "B=2", "A=3"}, SecretEnv: []string{"A=hidden", "C=hidden"}}
	if got := withSecrets(s.Env, s.SecretEnv); !slices.Equal(got, []string{"B=2", "A=hidden", "C=hidden"}) {
		t.Error(got)
	}
	kept, err := json.Marshal(s)
	if err != nil || strings.Contains(string(kept), "hidden") {
		t.Errorf("%s, %v", kept, err)
	}
}
