package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWorkdirIsMadeInsideTheRoot(t *testing.T) {
	root := t.TempDir()
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := makeWorkdir(root, "/../link/work"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(outside, "work")); err == nil {
		t.Error("a link led out of the root")
	}
	st, err := os.Stat(filepath.Join(root, outside, "work"))
	if err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestWorkdirIsADirectory(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "file"), "")
	if err := makeWorkdir(root, "/file"); err == nil || err.Error() != "Cannot mkdir: /file is not a directory" {
		t.Error(err)
	}
}
