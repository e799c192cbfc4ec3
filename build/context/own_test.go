package context_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/internal/fault"
)

func TestOwnDirectoriesAreLeftOut(t *testing.T) {
	files := map[string]string{
		"a": "", "in/store/x/y": "", "in/store/keep": "", "in/store-2": "", "link": "-> in/store/keep", "run/sock": "",
	}
	without := []string{"", "a", "in", "in/store-2", "link"}
	for _, test := range []struct {
		name, rules string
		want        []string
	}{
		{"without an ignore file", "", without},
		{"whatever an exception brings back", "!in/store\n!**/keep\n!run", without},
		{"with what an exception would bring back from a directory", "in\n!in/store/keep\n!in/store-2\n", without},
		{"beside what is ignored", "in\n!in/store/keep\n", []string{"", "a", "link"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, rules := tree(t, files), filepath.Join(t.TempDir(), "rules")
			if err := os.WriteFile(rules, []byte(test.rules), 0o644); err != nil {
				t.Fatal(err)
			}
			d := open(t, root, context.Options{IgnoreFile: rules, Own: own(root)})
			wantPaths(t, paths(walk(t, d, "")), test.want...)
			wantPaths(t, paths(walk(t, d, "in/store")))
			wantPaths(t, paths(walk(t, d, "in/store/x")))
		})
	}
}

// own are directories in a tree.
func own(root string) []context.Own {
	return []context.Own{
		{Dir: filepath.Join(root, "in/store"), Called: "the store"},
		{Dir: filepath.Join(root, "run"), Called: "the rest"},
		{Dir: filepath.Join(root, "nowhere"), Called: "nothing"},
	}
}

func TestOwnDirectoriesAreFoundByIdentity(t *testing.T) {
	disk := tree(t, map[string]string{"project/a": "", "project/store/x": ""})
	links := tree(t, map[string]string{"context": "-> " + disk + "/project", "store": "-> " + disk + "/project/store"})
	for _, test := range []struct {
		root, store string
		want        string
	}{
		{disk + "/project", disk + "/project/store", " a"},
		{links + "/context", disk + "/project/store", " a"},
		{disk + "/project", links + "/store", " a"},
		{disk, links + "/context/store", " project project/a"},
		{disk + "/project/store", disk + "/project/store", " x"},
		{disk + "/project/store", disk + "/project", " x"},
	} {
		d := open(t, test.root, context.Options{Own: []context.Own{{Dir: test.store, Called: "the store"}}})
		if got := strings.Join(paths(walk(t, d, "")), " "); got != test.want {
			t.Errorf("%s with the store %s: %q, want %q", test.root, test.store, got, test.want)
		}
	}
}

func TestSourcesInOwnDirectoriesAreRefused(t *testing.T) {
	root := tree(t, map[string]string{"in/store/x": "", "in/a": "", "link": "-> in/store/x", "run/sock": ""})
	d := open(t, root, context.Options{Own: own(root)})
	for pattern, want := range map[string]string{
		"in/store":      "in/store belongs to the store, which is left out of every build context",
		"in/store/x":    "in/store/x belongs to the store",
		"in/store/none": "in/store/none belongs to the store",
		"link":          "in/store/x belongs to the store",
		"/run/sock":     "run/sock belongs to the rest",
	} {
		_, err := glob(d, pattern)
		if err == nil || !strings.Contains(err.Error(), want) || fault.Remedy(err) == "" {
			t.Errorf("%q: %v (%s)", pattern, err, fault.Remedy(err))
		}
	}
	for pattern, want := range map[string]int{"in/*": 1, "in/store/*": 0} {
		if matches, err := glob(d, pattern); err != nil || len(matches) != want {
			t.Errorf("%q: %v, %v", pattern, matches, err)
		}
	}
}
