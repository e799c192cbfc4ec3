package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// directory makes one that isn't the store's, with a name that mount options
// can't hold.
func directory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a:b,c")
	for _, name := range []string{"sub/deep", "ignored/much"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	for _, name := range []string{"f", "secret", "sub/f", "sub/secret", "sub/deep/f", "ignored/much/f"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("as it was"), 0o640))
	}
	must(t, os.Chmod(dir, 0o750))
	return dir
}

var hiddenThere = []string{"secret", "sub/secret", "ignored"}

// checkCover looks at a directory that covers one made by directory.
func checkCover(t *testing.T, dir, covered string) {
	t.Helper()
	var got []string
	must(t, filepath.WalkDir(covered, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(covered, path)
		got = append(got, rel)
		return err
	}))
	if want := []string{".", "f", "sub", "sub/deep", "sub/deep/f", "sub/f"}; !slices.Equal(got, want) {
		t.Errorf("it shows %q, want %q", got, want)
	}
	if st, err := os.Stat(covered); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	// Writing reaches nothing below.
	must(t, os.WriteFile(filepath.Join(covered, "f"), []byte("changed"), 0o640))
	must(t, os.Mkdir(filepath.Join(covered, "new"), 0o755))
	must(t, os.RemoveAll(filepath.Join(covered, "sub")))
	for _, name := range []string{"f", "sub/f", "secret"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != "as it was" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil {
		t.Error("a new directory reached what is covered")
	}
}

func TestCoverShowsADirectoryLessWhatIsHidden(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		dir, aside := directory(t), t.TempDir()
		path, uncover, err := b.Cover(context.Background(), dir, hiddenThere, aside)
		if b.Driver() == VFS {
			if !errors.Is(err, ErrNoCover) {
				t.Fatal(err)
			}
			return
		}
		must(t, err)
		checkCover(t, dir, path)
		must(t, uncover())
		if names, err := os.ReadDir(path); err != nil || len(names) > 0 {
			t.Errorf("still there: %v, %v", names, err)
		}
	})
}

// What Cover falls back to where the kernel has no overlay for it.
func TestCoverByFuse(t *testing.T) {
	b := newBench(t, Fuse)
	dir, aside := directory(t), t.TempDir()
	for _, name := range []string{"upper", "work", "merged"} {
		must(t, os.Mkdir(filepath.Join(aside, name), 0o755))
	}
	must(t, os.Symlink(dir, filepath.Join(aside, "lower")))
	must(t, b.hide(dir, filepath.Join(aside, "upper"), hiddenThere))
	path := filepath.Join(aside, "merged")
	must(t, b.fuseCover(context.Background(), aside, path))
	checkCover(t, dir, path)
	must(t, unix.Unmount(path, unix.MNT_DETACH))
}
