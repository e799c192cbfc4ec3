package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWholeIsAllOfATree(t *testing.T) {
	upper, lower := t.TempDir(), t.TempDir()
	err := errors.Join(
		os.Mkdir(filepath.Join(lower, "dir"), 0o755),
		os.WriteFile(filepath.Join(lower, "dir/below"), []byte("below"), 0o600),
		os.WriteFile(filepath.Join(lower, "both"), []byte("old"), 0o644),
		os.Link(filepath.Join(lower, "dir/below"), filepath.Join(lower, "linked")),
		os.WriteFile(filepath.Join(upper, "both"), []byte("new"), 0o644),
		os.Symlink("both", filepath.Join(upper, "link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	tree := NewTree([]string{upper, lower})
	defer tree.Close()
	var b bytes.Buffer
	if _, err := Pack(context.Background(), Whole(tree), &b, PackOptions{Compression: None}); err != nil {
		t.Fatal(err)
	}
	var found []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, readErr := io.ReadAll(r)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		found = append(found, h.Name+" "+h.Linkname+string(content))
	}
	want := []string{"both new", "dir/ ", "dir/below below", "link both", "linked dir/below"}
	if !slices.Equal(found, want) {
		t.Errorf("%q, want %q", found, want)
	}
}

func TestWholeTakesAGrowingFileAsItWas(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	if err := os.WriteFile(path, []byte("line\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := NewTree([]string{dir})
	defer tree.Close()
	err := Whole(tree).Walk(context.Background(), func(e *Entry) error {
		if err := os.WriteFile(path, []byte("line\nmore\n"), 0o644); err != nil {
			return err
		}
		f, err := e.Open()
		if err != nil {
			return err
		}
		defer f.Close()
		content, err := io.ReadAll(f)
		if string(content) != "line\n" || e.Size != 5 {
			t.Errorf("%q of %d bytes", content, e.Size)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
