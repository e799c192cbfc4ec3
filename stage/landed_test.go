package stage

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/builder-oci/builder/storage/layer"
)

// A name that an archive has replaced, or a directory above it, is no longer one of
// its file's: the next name that lands is, and later ones are links to that.
func TestWhatAnArchiveReplacesIsNoNameOfItsFile(t *testing.T) {
	from := tree(t, "d/sub/", "e/", "f/")
	root := from.Dirs()[0]
	for first, others := range map[string][]string{"d/a": {"d/b", "e/y", "f/z"}, "d/sub/c": {"e/u", "f/v"}} {
		if err := os.WriteFile(filepath.Join(root, first), []byte(first), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, other := range others {
			if err := os.Link(filepath.Join(root, first), filepath.Join(root, other)); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeTar(t, filepath.Join(root, "x.tar"),
		tar.Header{Name: "a", Typeflag: tar.TypeReg},
		tar.Header{Name: "sub", Typeflag: tar.TypeSymlink, Linkname: "elsewhere"})
	in := Copy{Verb: "ADD", Sources: []string{"d", "x.tar", "e", "f"}, Dest: "/t/", Extract: true}
	sel := &selection{in: in, temp: t.TempDir()}
	if err := sel.load(t.Context(), fixed{treeFiles{tree: from}}); err != nil {
		t.Fatal(err)
	}
	defer sel.close()
	if needs, err := sel.needsTree(t.Context()); !needs || err != nil {
		t.Fatalf("needs a tree: %v, %v", needs, err)
	}
	onto := tree(t)
	to := layer.NewDirWriter(t.TempDir(), onto, layer.DirOptions{Flavor: layer.Stacked, Unprivileged: true, Owners: layer.NewOwners(t.TempDir())})
	var landed []string
	p, err := newPlacement(in, onto, "/t/", func(e *layer.Entry) error {
		landed = append(landed, string(e.Type)+" "+e.Path+" "+e.Linkname)
		return to.Write(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	p.standing = to.Standing
	if err := p.place(t.Context(), sel); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 t ", "0 t/a ", "1 t/b t/a", "5 t/sub ", "0 t/sub/c ",
		"0 t/a ", "2 t/sub elsewhere",
		"0 t/u ", "0 t/y ",
		"1 t/v t/u", "1 t/z t/y",
	}
	if !slices.Equal(landed, want) {
		t.Errorf("landed %q, want %q", landed, want)
	}
}

func writeTar(t *testing.T, path string, headers ...tar.Header) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
