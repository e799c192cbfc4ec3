package stage

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func TestLiteralMatchesItselfAlone(t *testing.T) {
	for _, name := range []string{"plain", "[id]", "a*b", "what?", `back\slash`, "[[]", "]"} {
		for _, other := range []string{name, name + "x", "i", "axb", "whatx", "backslash"} {
			match, err := path.Match(literal(name), other)
			if err != nil || match != (name == other) {
				t.Errorf("%s, as %s, matches %s: %t, %v", name, literal(name), other, match, err)
			}
		}
	}
	if literal("") != "/" {
		t.Error(literal(""))
	}
}

func TestSecretsAreReadWhereTheyAre(t *testing.T) {
	t.Setenv("A_SECRET", "from env")
	file := filepath.Join(t.TempDir(), "s")
	large := file + "large"
	for name, text := range map[string]string{file: "from file", large: strings.Repeat("x", MaxSecret+1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &Runner{Settings: Settings{Secrets: map[string]Secret{
		"env": {Env: "A_SECRET"}, "file": {File: file}, "gone": {File: file + "gone"}, "large": {File: large}, "unset": {Env: "NOT_SET"},
	}}}
	for _, tc := range []struct {
		id       string
		required bool
		want     string
		err      string
	}{
		{"env", false, "from env", ""},
		{"file", true, "from file", ""},
		{"other", false, "", ""},
		{"other", true, "", "is required"},
		{"gone", false, "", "can't be read"},
		{"large", false, "", "larger than"},
		{"unset", false, "", "isn't set"},
	} {
		got, err := SecretMount{ID: tc.id, Required: tc.required}.value(r)
		if string(got) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%+v: %q, %v", tc, got, err)
		}
	}
}

func TestModeOfAMount(t *testing.T) {
	mode := func(m uint32) *uint32 { return &m }
	for want, o := range map[fs.FileMode]Owner{
		0o400:                 {},
		0o644:                 {Mode: mode(0o644)},
		0o770 | fs.ModeSetgid: {Mode: mode(0o2770)},
		0o777 | fs.ModeSticky: {Mode: mode(0o1777)},
		0o755 | fs.ModeSetuid: {Mode: mode(0o104755)},
	} {
		if got := o.mode(0o400); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
