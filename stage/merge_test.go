package stage

import (
	"archive/tar"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
)

// Several sources land in one order, each path once; what few entries there are
// is kept, and what many there are is gone through again, with the same outcome.
func TestSourcesAreMergedInOrder(t *testing.T) {
	from := tree(t, "a/x", "a/sub/1", "a/sub-1", "b/x", "b/sub/0", "b/sub/1", "b/z", "c/", "one", "zero")
	want := []string{
		"t/", "t/one = one", "t/sub/", "t/sub/0 = b/sub/0", "t/sub/1 = b/sub/1", "t/sub-1 = a/sub-1",
		"t/x = b/x", "t/z = b/z", "t/zero = zero",
	}
	var digests []string
	for _, kept := range []int{0, mostKept} {
		in := Copy{Verb: "COPY", Sources: []string{"a", "zero", "b", "c", "one"}, Dest: "/t/"}
		sel := &selection{in: in, kept: kept}
		if err := sel.load(t.Context(), fixed{treeFiles{tree: from}}); err != nil {
			t.Fatal(err)
		}
		d, err := sel.digest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
		for in := range sel.inputs {
			digests[len(digests)-1] += " " + in.Name + " " + in.Value
		}
		p, err := newPlacement(in, tree(t), "/t/", nil)
		if err != nil {
			t.Fatal(err)
		}
		var landed []string
		p.sink = func(e *layer.Entry) error {
			landed = append(landed, e.Path+contentOf(t, e))
			return nil
		}
		if err := p.place(context.Background(), sel); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(landed, want) {
			t.Errorf("landed %q, want %q", landed, want)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("kept entries have the digest %s, others %s", digests[0], digests[1])
	}
	if n := strings.Count(digests[0], "file:"); n != 11 {
		t.Errorf("%d files are on record: %s", n, digests[0])
	}
}

func contentOf(t *testing.T, e *layer.Entry) string {
	t.Helper()
	if e.Type == tar.TypeDir {
		return "/"
	}
	f, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return " = " + string(text)
}

// What lands at one place has to be of one kind, whichever source comes first.
func TestSourcesOfOnePlaceHaveToAgree(t *testing.T) {
	from := tree(t, "a/x", "b/x/y", "c/x")
	for sources, words := range map[string]string{
		"a b":   "the directory t/x can't replace the file",
		"b a":   "the file t/x can't replace the directory",
		"a c b": "the directory t/x can't replace the file",
	} {
		_, err := place(t, Copy{Sources: strings.Fields(sources), Dest: "/t/"}, from, tree(t))
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", sources, err)
		}
	}
}

// A record may be written in part where its writer has had enough.
func TestInputsEndWhenNobodyWantsThem(t *testing.T) {
	sel := &selection{in: Copy{Verb: "COPY", Sources: []string{"d"}, Dest: "/t/"}, kept: mostKept}
	if err := sel.load(t.Context(), fixed{treeFiles{tree: tree(t, "d/a", "d/b", "d/c")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := sel.digest(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	sel.inputs(func(cache.Input) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("%d inputs were given", n)
	}
}
