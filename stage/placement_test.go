package stage

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// tree makes a directory tree: names with a slash at the end are directories,
// "a -> b" is a link, all else are files that hold their own name.
func tree(t *testing.T, names ...string) *layer.Tree {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		file := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, file)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(file, 0o755)
		default:
			err = os.WriteFile(file, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tr := layer.NewTree([]string{dir})
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// fixed is a source whose files are a tree.
type fixed struct{ treeFiles }

func (f fixed) Known(context.Context) (*State, error) { return nil, nil }
func (f fixed) Files(context.Context) (Files, error) {
	return treeFiles{f.tree, newTreeLists("")}, nil
}

func place(t *testing.T, in Copy, from, onto *layer.Tree) ([]string, error) {
	t.Helper()
	ctx := context.Background()
	in.Verb = "COPY"
	sel := &selection{in: in}
	if err := sel.load(ctx, fixed{treeFiles{tree: from}}); err != nil {
		return nil, err
	}
	var landed []string
	p, err := newPlacement(in, onto, destination(&State{Config: &layout.ImageConfig{}}, in.Dest), func(e *layer.Entry) error {
		name := e.Path
		if e.Type == tar.TypeDir {
			name += "/"
		}
		landed = append(landed, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = p.place(ctx, sel)
	slices.Sort(landed)
	return landed, err
}

func TestWhereEntriesLand(t *testing.T) {
	from := tree(t, "a", "d/x", "d/sub/y", "e", "l -> d", "dangling -> nowhere")
	for _, tc := range []struct {
		name string
		in   Copy
		onto []string
		want []string
	}{
		{"file to a new name", Copy{Sources: []string{"a"}, Dest: "/b"}, nil, []string{"b"}},
		{"file into a directory that is there", Copy{Sources: []string{"a"}, Dest: "/b"}, []string{"b/"}, []string{"b/a"}},
		{"slash makes the directory", Copy{Sources: []string{"a"}, Dest: "/n/m/"}, nil, []string{"n/", "n/m/", "n/m/a"}},
		{"parents of a file are made", Copy{Sources: []string{"a"}, Dest: "/n/m"}, nil, []string{"n/", "n/m"}},
		{"a directory gives its content", Copy{Sources: []string{"d"}, Dest: "/t"}, nil, []string{"t/", "t/sub/", "t/sub/y", "t/x"}},
		{"a directory merges", Copy{Sources: []string{"d"}, Dest: "/t"}, []string{"t/sub/z"}, []string{"t/sub/", "t/sub/y", "t/x"}},
		{"the destination's links are followed", Copy{Sources: []string{"a"}, Dest: "/bin/"}, []string{"usr/bin/", "bin -> usr/bin"}, []string{"usr/bin/a"}},
		{"links out of the root stay in it", Copy{Sources: []string{"a"}, Dest: "/up/"}, []string{"up -> ../../.."}, []string{"a"}},
		{"a source link names its target", Copy{Sources: []string{"l"}, Dest: "/t/"}, nil, []string{"t/", "t/sub/", "t/sub/y", "t/x"}},
		{"wildcards", Copy{Sources: []string{"d/*"}, Dest: "/t/"}, nil, []string{"t/", "t/x", "t/y"}},
		{"a file after the directory that its pattern names too", Copy{Sources: []string{"[de]*"}, Dest: "/t"}, nil, []string{"t/", "t/e", "t/sub/", "t/sub/y", "t/x"}},
		{"the root", Copy{Sources: []string{"d"}, Dest: "/"}, nil, []string{"sub/", "sub/y", "x"}},
		{"several", Copy{Sources: []string{"a", "d/x"}, Dest: "t/"}, nil, []string{"t/", "t/a", "t/x"}},
		{"excluded below a directory", Copy{Sources: []string{"d"}, Exclude: []string{"sub"}, Dest: "/t"}, nil, []string{"t/", "t/x"}},
		{"brought back below what is excluded", Copy{Sources: []string{"."}, Exclude: []string{"*", "!d/sub/y"}, Dest: "/t"}, nil, []string{"t/", "t/d/", "t/d/sub/", "t/d/sub/y"}},
		{"at any depth", Copy{Sources: []string{"."}, Exclude: []string{"**/y", "e", "l", "dangling"}, Dest: "/t"}, nil, []string{"t/", "t/a", "t/d/", "t/d/sub/", "t/d/x"}},
		{"files of a wildcard by their own names", Copy{Sources: []string{"[ae]"}, Exclude: []string{"e"}, Dest: "/t/"}, nil, []string{"t/", "t/a"}},
		{"all excluded leaves the directory", Copy{Sources: []string{"d"}, Exclude: []string{"*"}, Dest: "/t"}, nil, []string{"t/"}},
		{"parents", Copy{Parents: true, Sources: []string{"d/sub/y", "./a"}, Dest: "/t/"}, nil, []string{"t/", "t/a", "t/d/", "t/d/sub/", "t/d/sub/y"}},
		{"parents of a directory", Copy{Parents: true, Sources: []string{"/d/sub/."}, Dest: "/t/"}, nil, []string{"t/", "t/d/", "t/d/sub/", "t/d/sub/y"}},
		{"parents from a pivot", Copy{Parents: true, Sources: []string{"d/./sub/y"}, Dest: "/t/"}, nil, []string{"t/", "t/sub/", "t/sub/y"}},
		{"parents from each pivot", Copy{Parents: true, Sources: []string{"[ad]*/./sub/y"}, Dest: "/t/"}, nil, []string{"t/", "t/sub/", "t/sub/y"}},
		{"nothing below a file that stands before a pivot", Copy{Parents: true, Sources: []string{"[ad]/./[ax]"}, Dest: "/t/"}, nil, []string{"t/", "t/x"}},
		{"no file leads to what is below a pivot", Copy{Parents: true, Sources: []string{"[d]/./x/y"}, Dest: "/t/"}, nil, []string{"t/"}},
		{"the second pivot means nothing", Copy{Parents: true, Sources: []string{"./d/./sub/./y"}, Dest: "/t/"}, nil, []string{"t/", "t/sub/", "t/sub/y"}},
		{"everything below a pivot", Copy{Parents: true, Sources: []string{"d/./"}, Dest: "/t/"}, nil, []string{"t/", "t/sub/", "t/sub/y", "t/x"}},
		{"parents and wildcards", Copy{Parents: true, Sources: []string{"[d]/./*/y"}, Dest: "/t/"}, nil, []string{"t/", "t/sub/", "t/sub/y"}},
		{"parents and two stars", Copy{Parents: true, Sources: []string{"**/y"}, Dest: "/t/"}, nil, []string{"t/", "t/d/", "t/d/sub/", "t/d/sub/y"}},
		{"parents and excluded", Copy{Parents: true, Sources: []string{"d"}, Exclude: []string{"d/sub"}, Dest: "/t/"}, nil, []string{"t/", "t/d/", "t/d/x"}},
		{"parents of nothing", Copy{Parents: true, Sources: []string{"d/./n*"}, Dest: "/t/"}, nil, []string{"t/"}},
		{"parents that lead nowhere", Copy{Parents: true, Sources: []string{"d/none/x*"}, Dest: "/t/"}, nil, []string{"t/"}},
		{"parents that lead to a file", Copy{Parents: true, Sources: []string{"d/x/x*"}, Dest: "/t/"}, nil, []string{"t/"}},
		{"parents of a link itself", Copy{Parents: true, Sources: []string{"l"}, Dest: "/t/"}, nil, []string{"t/", "t/l"}},
		{"here-document", Copy{Contents: []Content{{"EOF", "text"}}, Dest: "/etc/motd"}, nil, []string{"etc/", "etc/motd"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := place(t, tc.in, from, tree(t, tc.onto...))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("landed %v, want %v", got, tc.want)
			}
		})
	}
}

func TestWhatCannotLand(t *testing.T) {
	from := tree(t, "a", "b", "d/x/y", "l -> d")
	for _, tc := range []struct {
		name string
		in   Copy
		onto []string
		want string
	}{
		{"several without a slash", Copy{Sources: []string{"a", "b"}, Dest: "/t"}, nil, "must be a directory and end with /"},
		{"file over directory", Copy{Sources: []string{"a"}, Dest: "/t/"}, []string{"t/a/"}, "can't replace the directory"},
		{"directory over file", Copy{Sources: []string{"d"}, Dest: "/t/"}, []string{"t/x"}, "can't replace the file"},
		{"file as directory", Copy{Sources: []string{"a"}, Dest: "/t/"}, []string{"t"}, "is no directory"},
		{"missing source", Copy{Sources: []string{"none"}, Dest: "/t"}, nil, `no file matches "none"`},
		{"no mode", Copy{Sources: []string{"a"}, Dest: "/b", Chmod: "u~x"}, nil, "--chmod=u~x is no mode"},
		{"parents of what isn't there", Copy{Parents: true, Sources: []string{"d/./nothing"}, Dest: "/b"}, nil, "no file matches"},
		{"parents through a link", Copy{Parents: true, Sources: []string{"l/x"}, Dest: "/b"}, nil, "follows no links"},
		{"a pattern that can't be read", Copy{Exclude: []string{"[a"}, Sources: []string{"d"}, Dest: "/b"}, nil, "--exclude [a: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := place(t, tc.in, from, tree(t, tc.onto...))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestOwnersAreLookedUpInTheImage(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\nwww:x:33:44::/var/www:/bin/sh\n",
		"etc/group":  "staff:x:50:\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr := layer.NewTree([]string{dir})
	defer tr.Close()
	for spec, want := range map[string]owner{
		"www": {33, 44}, "www:staff": {33, 50}, "7": {7, 7}, "7:8": {7, 8}, "www:9": {33, 9}, ":staff": {0, 50},
		"root": {0, 0}, "33:root": {33, 0}, "33": {33, 33},
	} {
		got, err := lookupOwner(tr, "USER "+spec, spec)
		if err != nil || got != want {
			t.Errorf("lookupOwner(%q) = %v, %v; want %v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"nobody", "www:nogroup"} {
		if _, err := lookupOwner(tr, "--chown="+spec, spec); err == nil || !strings.Contains(err.Error(), "--chown="+spec) {
			t.Errorf("lookupOwner(%q) finds somebody", spec)
		}
	}
}

// TestNamesOfOneFileStayThat lays out what has several names and looks at what
// comes out of a place of it.
func TestNamesOfOneFileStayThat(t *testing.T) {
	from := tree(t, "d/", "e/", "f/")
	for _, pair := range [][2]string{{"d/a", "d/b"}, {"d/a", "d/c"}, {"d/a", "e/b"}, {"d/a", "f/z"}} {
		first := filepath.Join(from.Dirs()[0], pair[0])
		if err := os.WriteFile(first, []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(first, filepath.Join(from.Dirs()[0], pair[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(from.Dirs()[0], "e/a"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		sources []string
		want    []string
	}{
		{"one alone", []string{"d/a"}, []string{"t/", "t/a"}},
		{"a directory", []string{"d"}, []string{"t/", "t/a", "t/b = t/a", "t/c = t/a"}},
		{"several sources", []string{"d/c", "f/z"}, []string{"t/", "t/c", "t/z = t/c"}},
		{"the first is replaced", []string{"d", "e", "f"}, []string{
			"t/", "t/a", "t/b", "t/c = t/b", "t/z = t/b",
		}},
	} {
		in := Copy{Sources: tc.sources, Dest: "/t/", Verb: "COPY"}
		sel := &selection{in: in}
		if err := sel.load(context.Background(), fixed{treeFiles{tree: from}}); err != nil {
			t.Fatal(err)
		}
		if needs, err := sel.needsTree(t.Context()); needs != (tc.name != "one alone") || err != nil {
			t.Errorf("%s: needs a tree: %v, %v", tc.name, needs, err)
		}
		var landed []string
		p, err := newPlacement(in, tree(t), "/t/", func(e *layer.Entry) error {
			switch e.Type {
			case tar.TypeDir:
				landed = append(landed, e.Path+"/")
			case tar.TypeLink:
				landed = append(landed, e.Path+" = "+e.Linkname)
			default:
				landed = append(landed, e.Path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.place(context.Background(), sel); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(landed, tc.want) {
			t.Errorf("%s: landed %q, want %q", tc.name, landed, tc.want)
		}
	}
}

func TestSelectionDigestIgnoresTimesOnly(t *testing.T) {
	ctx := context.Background()
	of := func(in Copy, tr *layer.Tree) digest.Digest {
		sel := &selection{in: in}
		if err := sel.load(ctx, fixed{treeFiles{tree: tr}}); err != nil {
			t.Fatal(err)
		}
		d, err := sel.digest(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	in := Copy{Sources: []string{"d"}, Dest: "/"}
	first := of(in, tree(t, "d/x", "d/y"))
	if of(in, tree(t, "d/x", "d/y")) != first {
		t.Error("another checkout of the same files has another digest")
	}
	linked := tree(t, "d/")
	for _, name := range []string{"d/x", "d/y"} {
		// Both hold the same, so that only their being one file makes a difference.
		_ = os.WriteFile(filepath.Join(linked.Dirs()[0], name), []byte("text"), 0o644)
	}
	apart := of(in, linked)
	_ = os.Remove(filepath.Join(linked.Dirs()[0], "d/y"))
	if err := os.Link(filepath.Join(linked.Dirs()[0], "d/x"), filepath.Join(linked.Dirs()[0], "d/y")); err != nil {
		t.Fatal(err)
	}
	if of(in, layer.NewTree(linked.Dirs())) == apart {
		t.Error("two names of one file have the digest of two files")
	}
	for name, other := range map[string]digest.Digest{
		"another file": of(in, tree(t, "d/x", "d/z")),
		"more":         of(in, tree(t, "d/x", "d/y", "d/z")),
		"a link":       of(in, tree(t, "d/x", "d/y -> x")),
		"mode":         of(Copy{Sources: []string{"d"}, Dest: "/", Chmod: "0700"}, tree(t, "d/x", "d/y")),
	} {
		if other == first {
			t.Errorf("%s doesn't change the digest", name)
		}
	}
}

// TestArchiveEntriesMakeRoom unpacks over things of other kinds.
func TestArchiveEntriesMakeRoom(t *testing.T) {
	onto := tree(t, "dir/old/f", "file", "link -> real", "real/", "dangling -> nowhere", "lib -> real")
	file := filepath.Join(t.TempDir(), "a.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, h := range []tar.Header{
		{Name: "dir", Typeflag: tar.TypeReg},
		{Name: "dir/", Typeflag: tar.TypeDir},
		{Name: "dir/old", Typeflag: tar.TypeReg},
		{Name: "file/", Typeflag: tar.TypeDir},
		{Name: "file/f", Typeflag: tar.TypeReg},
		{Name: "link/", Typeflag: tar.TypeDir},
		{Name: "link/f", Typeflag: tar.TypeReg},
		{Name: "dangling/", Typeflag: tar.TypeDir},
		{Name: "lib/g", Typeflag: tar.TypeLink, Linkname: "link/f"},
		{Name: "real", Typeflag: tar.TypeSymlink, Linkname: "elsewhere"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var landed []string
	to := layer.NewDirWriter(t.TempDir(), onto, layer.DirOptions{Flavor: layer.Stacked, Unprivileged: true, Owners: layer.NewOwners(t.TempDir())})
	p, err := newPlacement(Copy{Verb: "ADD"}, onto, "/", func(e *layer.Entry) error {
		landed = append(landed, string(e.Type)+" "+e.Path+" "+e.Linkname)
		return to.Write(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	p.standing = to.Standing
	archive := &File{Entry: layer.Entry{Path: "a.tar", Type: tar.TypeReg, Open: func() (io.ReadCloser, error) { return os.Open(file) }}}
	if err := p.archive(archive, ""); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 dir ", "5 dir ", "0 dir/old ", "5 file ", "0 file/f ", "0 real/f ", "5 dangling ", "1 real/g real/f", "2 real elsewhere",
	}
	if !slices.Equal(landed, want) {
		t.Errorf("landed %q, want %q", landed, want)
	}
	for name, there := range map[string]bool{"dir/old": true, "dir/old/f": false, "real/f": false, "file/f": true} {
		if e, err := p.lookup(name); err != nil || (e.kind != 0) != there {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
}

// known is a source of which every digest is known.
type known struct {
	treeFiles
	opened *int
}

func (k known) Known(context.Context) (*State, error) { return nil, nil }
func (k known) Files(context.Context) (Files, error)  { return k, nil }

func (k known) Walk(ctx context.Context, name string, fn func(*File) error) error {
	return k.treeFiles.Walk(ctx, name, func(f *File) error {
		open := f.Open
		f.Open = func() (io.ReadCloser, error) { *k.opened++; return open() }
		return fn(f)
	})
}

func (k known) Digests(_ context.Context, files []*File) ([]digest.Digest, error) {
	return make([]digest.Digest, len(files)), nil
}

func TestKeyOfAddNeedsNoContent(t *testing.T) {
	opened := 0
	sel := &selection{in: Copy{Verb: "ADD", Sources: []string{"a", "b"}, Dest: "/", Extract: true}}
	if err := sel.load(context.Background(), known{treeFiles{tree(t, "a", "b"), newTreeLists("")}, &opened}); err != nil {
		t.Fatal(err)
	}
	if _, err := sel.digest(context.Background()); err != nil || opened > 0 {
		t.Errorf("%d files were opened, %v", opened, err)
	}
	if needs, err := sel.needsTree(t.Context()); needs || err != nil || opened != 2 {
		t.Errorf("%d files were looked at, %v, %v", opened, needs, err)
	}
}
