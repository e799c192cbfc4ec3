package stage

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/storage/layer"
)

// What a walk found is given again, though the tree's files aren't looked at.
func TestATreeIsListedOnce(t *testing.T) {
	tr := tree(t, "d/a", "d/b -> a", "d/sub/c", "e")
	dir := tr.Dirs()[0]
	for _, err := range []error{
		os.Link(filepath.Join(dir, "d/a"), filepath.Join(dir, "d/same")),
		unix.Mkfifo(filepath.Join(dir, "d/pipe"), 0o640),
		os.Chmod(filepath.Join(dir, "d/sub"), 0o1750),
		unix.Setxattr(filepath.Join(dir, "d/sub/c"), "user.note", []byte("x"), 0),
	} {
		if err != nil && err != unix.ENOTSUP {
			t.Fatal(err)
		}
	}
	files := treeFiles{tr, newTreeLists(t.TempDir())}
	walk := func() (found []File) {
		t.Helper()
		err := files.Walk(t.Context(), "d", func(f *File) error {
			if f.Type == layer.TypeReg {
				r, err := f.Open()
				if err != nil {
					return err
				}
				defer r.Close()
				if text, err := io.ReadAll(r); err != nil || int64(len(text)) != f.Size {
					t.Errorf("%s: %d bytes, %v", f.Path, len(text), err)
				}
			}
			seen := *f
			seen.Open = nil
			found = append(found, seen)
			f.UID, f.Mode = 77, 0 // as a selection may
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	first := walk()
	if err := os.Chmod(filepath.Join(dir, "d/a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := walk(); len(first) != 7 || !reflect.DeepEqual(again, first) {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
}
