package context

import (
	"os"
	"path/filepath"
	"testing"
)

// Where openat2 is refused, paths are opened component by component; both ways
// must see the same.
func TestPathsOpenTheSameWithoutOpenat2(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a/b/c"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "a", "a/out": "/etc", "a/b/last": "c"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDir(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if d.byParts {
		t.Skip("this kernel has no openat2 to compare with: run on Linux 5.6 or newer without a filter on it")
	}
	for rel, found := range map[string]bool{
		"": true, "a": true, "a/b": true, "a/b/c": true, "link": true, "a/b/last": true, "a/out": true,
		"link/b": false, "a/out/passwd": false, "a/none": false, "none/x": false, "a/b/c/d": false,
	} {
		for _, d.byParts = range []bool{false, true} {
			e, err := d.Lstat(rel)
			if (err == nil) != found {
				t.Errorf("%q by parts %v: %v", rel, d.byParts, err)
			}
			if err != nil && !isMissing(err) {
				t.Errorf("%q by parts %v: %v isn't taken for missing", rel, d.byParts, err)
			}
			if rel == "a/b/last" && err == nil && e.Linkname != "c" {
				t.Errorf("link to %q", e.Linkname)
			}
		}
	}
}

func TestReachesBelow(t *testing.T) {
	for _, test := range []struct {
		pattern, dir string
		want         bool
	}{
		{"a/b", "a", true},
		{"a/b", "b", false},
		{"a", "a", false},
		{"a/b/c", "a/b", true},
		{"a/*/c", "a/x", true},
		{"*/x", "anything", true},
		{"**/x", "a/b/c", true},
		{"a/**", "b", false},
		{"a/b", "a/c", false},
		{"a", "a/b", false},
	} {
		if got := reachesBelow(test.pattern, test.dir); got != test.want {
			t.Errorf("reachesBelow(%q, %q) = %v", test.pattern, test.dir, got)
		}
	}
}
