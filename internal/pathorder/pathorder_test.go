package pathorder

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOrderIsThatOfAWalk(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a/c", "a-b", "a.b", "a0", "a/c d/e", "a/c!", "a/c/e", "a", "\x01/x", "a name that is rather long/1", "a name that is rather long+"} {
		path := filepath.Join(root, name+".d")
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var walked []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, _ fs.DirEntry, err error) error {
		walked = append(walked, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	walked = walked[1:] // the root
	sorted := slices.Clone(walked)
	slices.Sort(sorted)
	if slices.Equal(sorted, walked) {
		t.Fatal("these names don't tell the orders apart")
	}
	slices.SortFunc(sorted, Compare)
	if !slices.Equal(sorted, walked) {
		t.Errorf("got %q, a walk meets %q", sorted, walked)
	}
}

func TestOnlyEqualPathsCompareAsEqual(t *testing.T) {
	var all []string
	for a := range 256 {
		all = append(all, string([]byte{byte(a)}), string([]byte{'x', byte(a)}))
	}
	for _, a := range all {
		for _, b := range all {
			if (Compare(a, b) == 0) != (a == b) || Compare(a, b) > 0 != (Compare(b, a) < 0) {
				t.Fatalf("%q and %q: %d, %d", a, b, Compare(a, b), Compare(b, a))
			}
		}
	}
}

func TestBeneath(t *testing.T) {
	for _, tc := range []struct {
		dir, path string
		want      bool
	}{
		{"", "a", true},
		{"", "", false},
		{"a", "a", false},
		{"a", "a/b", true},
		{"a", "a/b/c", true},
		{"a", "a-b", false},
		{"a", "ab", false},
		{"a/b", "a", false},
		{"b", "a/b", false},
	} {
		if got := Beneath(tc.dir, tc.path); got != tc.want {
			t.Errorf("%q beneath %q: %v", tc.path, tc.dir, got)
		}
	}
}
