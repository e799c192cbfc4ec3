package layer

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// told lists a source's entries as diff does.
func told(t *testing.T, src Source) string {
	t.Helper()
	var text string
	must(t, src.Walk(t.Context(), func(e *Entry) error {
		kind := "A"
		switch {
		case e.Whiteout:
			kind = "D"
		case e.Below:
			kind = "C"
		}
		text += kind + " /" + e.Path + "\n"
		return nil
	}))
	return text
}

func TestPlaceholdersAreNobodysChange(t *testing.T) {
	dir := t.TempDir()
	shell(t, `umask 022; mkdir -p lower/etc lower/there; : > lower/there/file
		mkdir -p upper/etc upper/there upper/deep/er/point upper/used/point upper/deep/file
		: > upper/etc/hosts; echo used > upper/used/point/x; echo more > upper/there/file; rmdir upper/deep/file
		: > upper/deep/mount; echo mine > upper/etc/resolv.conf
		touch -r lower/etc upper/etc; touch -r lower/there upper/there`)(dir)
	o := UpperOptions{
		Flavor: Overlay, ExactOwners: true,
		Placeholders: []string{"/etc/hosts", "/etc/resolv.conf", "/deep/er/point", "/deep/mount", "/used/point", "/there/file", "/absent"},
	}
	got := told(t, Upper(dir+"/upper", NewTree([]string{dir + "/lower"}), o))
	want := `C /etc
A /etc/resolv.conf
C /there
C /there/file
A /used
A /used/point
A /used/point/x
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLookTellsOfSockets(t *testing.T) {
	dir := t.TempDir()
	shell(t, "mkdir lower upper")(dir)
	must(t, unix.Mknod(dir+"/upper/socket", unix.S_IFSOCK|0o600, 0))
	for look, want := range map[bool]string{true: "A /socket\n", false: ""} {
		o := UpperOptions{Flavor: Overlay, ExactOwners: true, Look: look}
		if got := told(t, Upper(dir+"/upper", NewTree([]string{dir + "/lower"}), o)); got != want {
			t.Errorf("look %v: got %q", look, got)
		}
	}
}

// A few names are looked up one by one, many in a view of all: both see the same.
func TestLookingUpFewNamesIsAsLookingUpMany(t *testing.T) {
	for _, flavor := range []Flavor{Overlay, Fuse} {
		t.Run(string(flavor), func(t *testing.T) {
			dir := t.TempDir()
			shell(t, `umask 022; mkdir -p a/d/sub b/d/sub c/d c/e/x
				echo 1 > a/d/f; echo 1 > a/d/gone; echo 1 > a/d/sub/deep; echo 1 > a/d/typed; mkdir a/e; echo 1 > a/e/hidden
				echo 2 > b/d/f; mknod b/d/gone c 0 0; rm -f b/d/typed; mkdir b/d/typed
				mkdir -p upper/d/sub upper/e
				for n in f gone typed new; do echo upper > upper/d/$n; done
				echo upper > upper/d/sub/deep; echo upper > upper/e/hidden; echo upper > upper/e/x`)(dir)
			must(t, unix.Setxattr(dir+"/c/e", flavor.opaqueXattr(), []byte("y"), 0))
			want := "C /d\nC /d/f\nA /d/gone\nA /d/new\nC /d/sub\nC /d/sub/deep\nC /d/typed\nC /e\nA /e/hidden\nC /e/x\n"
			tree := NewTree([]string{dir + "/c", dir + "/b", dir + "/a"})
			o := UpperOptions{Flavor: flavor, ExactOwners: true}
			if got := told(t, Upper(dir+"/upper", tree, o)); got != want {
				t.Errorf("few names: got\n%s", got)
			}
			for i := range 2 * fewNames {
				for _, d := range []string{"d", "e", "d/sub"} {
					name := fmt.Sprintf("%s/upper/%s/zz%d", dir, d, i)
					must(t, os.Mkdir(name, 0o755))
				}
			}
			got := told(t, Upper(dir+"/upper", tree, o))
			few := ""
			for line := range strings.Lines(got) {
				if !strings.Contains(line, "/zz") {
					few += line
				}
			}
			if few != want {
				t.Errorf("many names: got\n%s", few)
			}
		})
	}
}
