package removal

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClosedDirectoriesAreRemoved(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(root, "a/b/c"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a/b/f"), nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a/b/c", "a/b", "a", ""} {
		if err := os.Chmod(filepath.Join(root, dir), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "a/b"), 0); err != nil {
		t.Fatal(err)
	}
	if err := All(root); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(root); err == nil {
		t.Error("it is still there")
	}
	if err := All(root); err != nil {
		t.Errorf("what isn't there: %v", err)
	}
}
