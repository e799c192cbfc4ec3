package stage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/layer"
)

// copied is what a COPY's selection is, and what it puts where on an image that has
// the directory there.
func copied(t *testing.T, sources, exclude []string, dest string) (sel *selection, digest string, landed []string) {
	t.Helper()
	from := tree(t, "d/a/n", "d/b", "d/c", "d/d", "d/e", "d/f", "d/l -> c", "d/m", "d/n", "d/z/b", "e/c", "e/f", "f")
	in := Copy{Verb: "COPY", Sources: sources, Exclude: exclude, Dest: dest}
	sel = &selection{in: in, temp: t.TempDir()}
	if err := sel.load(t.Context(), fixed{treeFiles{tree: from}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sel.close)
	d, err := sel.digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlacement(in, tree(t, "there/"), dest, func(e *layer.Entry) error {
		landed = append(landed, e.Path+contentOf(t, e))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.place(t.Context(), sel); err != nil {
		t.Fatal(err)
	}
	return sel, d.String(), landed
}

// What a pattern names is the same as when each is named.
func TestFilesOfAPatternAreAsIfNamed(t *testing.T) {
	for _, tc := range []struct {
		pattern, exclude, named string
	}{
		{"d/*", "", "d/a d/b d/c d/d d/e d/f d/l d/m d/n d/z"},
		{"d/[bc]", "", "d/b d/c"},
		{"d/[b-f]", "", "d/b d/c d/d d/e d/f"},
		{"d/[b-f]", "d", "d/b d/c d/e d/f"},
		{"d/[mn]", "n", "d/m"},
		{"[de]/?", "", "d/a d/b d/c d/d d/e d/f d/l d/m d/n d/z e/c e/f"},
		{"*/c", "", "d/c e/c"},
		{"d/[bc]", "*", ""},
	} {
		for _, dest := range []string{"/t/", "/there", "/there/"} {
			exclude := strings.Fields(tc.exclude)
			sel, digest, landed := copied(t, []string{tc.pattern}, exclude, dest)
			if _, want, at := copied(t, strings.Fields(tc.named), exclude, strings.TrimSuffix(dest, "/")+"/"); digest != want || !slices.Equal(landed, at) {
				t.Errorf("%s to %s: %s %q, want %s %q", tc.pattern, dest, digest, landed, want, at)
			}
			if len(sel.items) > 1 {
				t.Errorf("%s: %d items", tc.pattern, len(sel.items))
			}
		}
	}
}

// Files that a pattern names replace one another where they land at one place.
func TestTheLastFileOfAPatternLandsAtAName(t *testing.T) {
	sel, _, landed := copied(t, []string{"d/[b-fm]"}, nil, "/new/name")
	if want := []string{"new/", "new/name = d/m"}; !slices.Equal(landed, want) || len(sel.items) != 1 {
		t.Errorf("landed %q of %d items, want %q", landed, len(sel.items), want)
	}
	if _, _, landed := copied(t, []string{"d/[bm]"}, nil, "/name"); !slices.Equal(landed, []string{"name = d/m"}) {
		t.Errorf("of two landed %q", landed)
	}
}

// They are one item, and none of them is kept.
func TestManyFilesOfAPatternAreOneItem(t *testing.T) {
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprintf("d/%04d", i)
	}
	sel := &selection{in: Copy{Verb: "COPY", Sources: []string{"d/*"}, Dest: "/t/"}, temp: t.TempDir(), kept: mostKept}
	if err := sel.load(t.Context(), fixed{treeFiles{tree: tree(t, names...)}}); err != nil {
		t.Fatal(err)
	}
	defer sel.close()
	if len(sel.items) != 1 || sel.count != len(names) || len(sel.items[0].kept) > 0 {
		t.Errorf("%d items of %d files", len(sel.items), sel.count)
	}
}
