package transport

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestPlacesOfLayouts(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"dir", "a:b/dir", "c:d", "me@home/dir"} {
		if err := os.MkdirAll(filepath.FromSlash(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := "@" + digest.FromString("x").String()
	for place, want := range map[string][2]string{
		"dir":                       {"dir", ""},
		"dir:v1":                    {"dir", "v1"},
		"dir:app:v1":                {"dir", "app:v1"},
		"dir:quay.io/team/app:v1":   {"dir", "quay.io/team/app:v1"},
		"a:b/dir":                   {"a:b/dir", ""},
		"a:b/dir:v1":                {"a:b/dir", "v1"},
		"c:d:v1":                    {"c:d", "v1"},
		"dir" + d:                   {"dir", d},
		"dir:v1" + d:                {"dir", d},
		"me@home/dir:v1":            {"me@home/dir", "v1"},
		"me@home/dir" + d:           {"me@home/dir", d},
		"nowhere:v1":                {"nowhere", "v1"},
		"nowhere:quay.io/team/a:v1": {"nowhere", "quay.io/team/a:v1"},
	} {
		dir, ref := splitLayoutPlace(place)
		if got := [2]string{dir, ref}; got != want {
			t.Errorf("%s: %q, not %q", place, got, want)
		}
	}
}

func TestChoosingAnImageOfSeveral(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	held := []heldImage{
		{names: []string{"docker.io/library/app:v1"}, digest: a},
		{names: []string{"quay.io/team/app:latest"}, digest: b},
		{digest: a},
	}
	for ref, want := range map[string]int{
		"": 1, "app:v1": 0, "v1": 0, "latest": 1, "quay.io/team/app": 1, "@2": 2, "@0": 0,
		"@" + b.String(): 1, "app": -1, "v2": -1, "@3": -1, "@-1": -1, ":v1": -1, "1": -1,
	} {
		at, err := choose(held, ref)
		if err != nil {
			at = -1
		}
		if at != want {
			t.Errorf("%q: %d, not %d (%v)", ref, at, want, err)
		}
	}
}

func TestNamesInContainersStorage(t *testing.T) {
	for image, want := range map[string]string{
		"app":            "docker.io/library/app:latest",
		"localhost/a:v1": "localhost/a:v1",
		"[vfs@/var/lib/containers+/run]quay.io/a:v1": "quay.io/a:v1",
		"0123456789ab":        "",
		"@0123456789ab":       "",
		"sha256:0123456789ab": "",
	} {
		got := ""
		if names := storageNames(image); len(names) > 0 {
			got = names[0]
		}
		if got != want {
			t.Errorf("%s: %q, not %q", image, got, want)
		}
	}
}
