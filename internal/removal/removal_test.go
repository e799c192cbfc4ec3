package removal

import (
	"errors"
	"io/fs"
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

func TestWhatIsOfAnotherIDIsToldAndKept(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(root, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Possible(root); err != nil {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		t.Skip("for an ordinary user only")
	}
	var foreign *Foreign
	if err := Possible("/etc"); !errors.As(err, &foreign) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("/etc: %v", err)
	}
	if err := Possible("/tmp"); !errors.As(err, &foreign) {
		t.Errorf("a sticky directory of root's: %v", err)
	}
}
