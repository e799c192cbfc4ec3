package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// isMarked reports whether Sync would pass over the file.
func isMarked(t *testing.T, path string) bool {
	t.Helper()
	st, err := os.Lstat(path)
	must(t, err)
	return st.Mode().Perm()&writable == 0
}

func TestWhatWasSyncedIsMarkedUntilItIsReplaced(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i := range filesAtOnce + 10 {
		path := filepath.Join(dir, fmt.Sprint(i))
		must(t, WriteUnsynced(path, []byte("content"), 0o600))
		paths = append(paths, path)
	}
	must(t, os.WriteFile(paths[0], nil, 0o600))
	// However old it is: nobody promises that it has reached the disk.
	old := time.Now().Add(-24 * time.Hour)
	must(t, os.Chtimes(paths[1], old, old))
	must(t, Sync(context.Background(), append(paths, filepath.Join(dir, "missing"))))
	for _, path := range paths {
		if !isMarked(t, path) {
			t.Fatalf("%s isn't synced", path)
		}
	}
	must(t, WriteUnsynced(paths[0], []byte("new"), 0o600))
	if isMarked(t, paths[0]) {
		t.Error("what replaces a synced file passes for synced")
	}
	must(t, Sync(context.Background(), paths))
	if data, err := os.ReadFile(paths[0]); err != nil || string(data) != "new" || !isMarked(t, paths[0]) {
		t.Errorf("%q, %v", data, err)
	}
}

func TestSyncEndsWithItsCaller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, WriteUnsynced(path, []byte("content"), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Sync(ctx, []string{path}); !errors.Is(err, context.Canceled) || isMarked(t, path) {
		t.Errorf("%v; marked: %v", err, isMarked(t, path))
	}
}
