package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// written is when everything in the tars below was written.
var written = time.Unix(1e9, 0)

func dirHeader(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: written}
}

func fileHeader(name, content string) tar.Header {
	// The content travels in a field that files don't use.
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Linkname: content, ModTime: written}
}

func linkHeader(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, ModTime: written}
}

func symlinkHeader(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: written}
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// brief is what a tree's names are: type, path, and content or target.
func brief(t *testing.T, tree *Tree) string {
	t.Helper()
	var b strings.Builder
	must(t, tree.Walk("", func(n *Node) error {
		switch n.Type {
		case TypeDir:
			if n.Path != "" {
				b.WriteString(n.Path + "/ ")
			}
		case TypeSymlink:
			b.WriteString(n.Path + "->" + n.Linkname + " ")
		case TypeReg:
			data, err := tree.ReadFile(n.Path, 100)
			must(t, err)
			b.WriteString(n.Path + "=" + string(data) + " ")
		default:
			b.WriteString(n.Path + "? ")
		}
		return nil
	}))
	return strings.TrimSpace(b.String())
}

func TestUnpackOverLowerLayers(t *testing.T) {
	lower := []tar.Header{
		dirHeader("d"), fileHeader("d/a", "1"), fileHeader("d/b", "2"), dirHeader("d/sub"), fileHeader("d/sub/c", "3"),
		fileHeader("f", "4"), symlinkHeader("l", "d"),
	}
	for _, tc := range []struct {
		name  string
		layer []tar.Header
		want  string
	}{
		{"a whiteout deletes a file", []tar.Header{fileHeader("d/.wh.a", "")}, "d/ d/b=2 d/sub/ d/sub/c=3 f=4 l->d"},
		{"a whiteout deletes a directory", []tar.Header{fileHeader(".wh.d", "")}, "f=4 l->d"},
		{"a whiteout of nothing", []tar.Header{fileHeader("n/.wh.x", ""), fileHeader(".wh.y", "")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d n/"},
		{"a whiteout after its replacement hides only what is below", []tar.Header{dirHeader("d"), fileHeader("d/n", "5"), fileHeader(".wh.d", "")}, "d/ d/n=5 f=4 l->d"},
		{"a whiteout before its replacement", []tar.Header{fileHeader(".wh.d", ""), dirHeader("d"), fileHeader("d/n", "5")}, "d/ d/n=5 f=4 l->d"},
		{"a whiteout before an implied replacement", []tar.Header{fileHeader(".wh.d", ""), fileHeader("d/n", "5")}, "d/ d/n=5 f=4 l->d"},
		{"a whiteout before a file of its name", []tar.Header{fileHeader(".wh.f", ""), fileHeader("f", "5")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=5 l->d"},
		{"an opaque directory, marker first", []tar.Header{dirHeader("d"), fileHeader("d/.wh..wh..opq", ""), fileHeader("d/n", "5")}, "d/ d/n=5 f=4 l->d"},
		{"an opaque directory, marker last", []tar.Header{dirHeader("d"), fileHeader("d/sub/n", "5"), fileHeader("d/.wh..wh..opq", "")}, "d/ d/sub/ d/sub/n=5 f=4 l->d"},
		{"an opaque root", []tar.Header{fileHeader(".wh..wh..opq", ""), fileHeader("n", "5")}, "n=5"},
		{"a directory becomes a file", []tar.Header{fileHeader("d", "5")}, "d=5 f=4 l->d"},
		{"a file becomes a directory", []tar.Header{dirHeader("f"), fileHeader("f/n", "5")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f/ f/n=5 l->d"},
		{"a directory in a link's place shadows it", []tar.Header{fileHeader("l/n", "5")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l/ l/n=5"},
		{"a link of this layer is followed", []tar.Header{symlinkHeader("k", "/d"), fileHeader("k/n", "5")}, "d/ d/a=1 d/b=2 d/n=5 d/sub/ d/sub/c=3 f=4 k->/d l->d"},
		{"a link that climbs stays inside", []tar.Header{symlinkHeader("k", "../../../up"), fileHeader("k/n", "5")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 k->../../../up l->d up/ up/n=5"},
		{"a link that another replaces", []tar.Header{dirHeader("e"), symlinkHeader("k", "d"), fileHeader("k/n", "5"), symlinkHeader("k", "e"), fileHeader("k/m", "6")}, "d/ d/a=1 d/b=2 d/n=5 d/sub/ d/sub/c=3 e/ e/m=6 f=4 k->e l->d"},
		{"a link that a directory replaces", []tar.Header{symlinkHeader("k", "d"), fileHeader("k/n", "5"), dirHeader("k"), fileHeader("k/m", "6")}, "d/ d/a=1 d/b=2 d/n=5 d/sub/ d/sub/c=3 f=4 k/ k/m=6 l->d"},
		{"a link that a hard link to another replaces", []tar.Header{dirHeader("e"), symlinkHeader("k", "d"), fileHeader("k/n", "5"), symlinkHeader("j", "e"), linkHeader("k", "j"), fileHeader("k/m", "6")}, "d/ d/a=1 d/b=2 d/n=5 d/sub/ d/sub/c=3 e/ e/m=6 f=4 j->e k->e l->d"},
		{"a hard link through a lower link, and a directory in its place", []tar.Header{linkHeader("h", "l/b"), fileHeader("l/n", "5")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 h=2 l/ l/n=5"},
		{"a hard link to a lower file", []tar.Header{linkHeader("h", "d/a"), linkHeader("h2", "/d/a")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 h=1 h2=1 l->d"},
		{"a hard link to a lower file through a lower link", []tar.Header{linkHeader("h", "l/b")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 h=2 l->d"},
		{"a hard link to a hard link to a lower file", []tar.Header{linkHeader("h", "d/a"), linkHeader("i", "h")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 h=1 i=1 l->d"},
		{"a later entry replaces a hard link", []tar.Header{linkHeader("h", "d/a"), fileHeader("h", "5")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 h=5 l->d"},
		{"the same name twice", []tar.Header{fileHeader("n", "5"), fileHeader("n", "6")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d n=6"},
		{"a directory twice keeps its files", []tar.Header{dirHeader("n"), fileHeader("n/x", "5"), dirHeader("n")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d n/ n/x=5"},
		{"a new directory gives way to a file", []tar.Header{fileHeader("n/x/y", "5"), fileHeader("n", "6")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d n=6"},
		{"a new directory gives way and comes again without what it had", []tar.Header{fileHeader("n/x/y", "5"), linkHeader("n/h", "d/a"), fileHeader("n/.wh.w", ""), fileHeader("n", "6"), dirHeader("n"), fileHeader("n/m", "7")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d n/ n/m=7"},
		{"a directory over a file gives way to a link", []tar.Header{dirHeader("f"), fileHeader("f/n/x", "5"), fileHeader("f/.wh.y", ""), symlinkHeader("f", "d")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f->d l->d"},
		{"names in other forms", []tar.Header{fileHeader("./x", "5"), fileHeader("/y", "6"), fileHeader("d/../z", "7"), dirHeader("./")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d x=5 y=6 z=7"},
		{"names of aufs", []tar.Header{dirHeader(".wh..wh.plnk"), fileHeader(".wh..wh.plnk/1.2", ""), fileHeader(".wh..wh.aufs", ""), dirHeader(".wh..wh.orph"), fileHeader(".wh..wh.orph/x", ""), linkHeader("d/.wh..wh.x/y/z", "d/a")}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 f=4 l->d"},
		{"hard links of aufs", []tar.Header{fileHeader(".wh..wh.plnk/1.2", "5"), linkHeader("d/n", ".wh..wh.plnk/1.2"), linkHeader("n", "/.wh..wh.plnk/1.2"), linkHeader(".wh..wh.plnk/3.4", "d/a")}, "d/ d/a=1 d/b=2 d/n=5 d/sub/ d/sub/c=3 f=4 l->d n=5"},
		{"a device hides what is below", []tar.Header{{Name: "f", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 l->d"},
		{"a device 0:0 is a whiteout", []tar.Header{{Name: "f", Typeflag: tar.TypeChar}, dirHeader("n"), {Name: "n/x", Typeflag: tar.TypeChar}}, "d/ d/a=1 d/b=2 d/sub/ d/sub/c=3 l->d n/"},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			for _, flavor := range append(flavors[:len(flavors):len(flavors)], Stacked) {
				s := newStack(t, flavor)
				s.unpack(tarOf(t, lower...))
				s.unpack(tarOf(t, tc.layer...))
				if got := brief(t, s.tree()); got != tc.want {
					t.Errorf("%s: tree %s\nwant %s", flavor, got, tc.want)
				}
				if flavor == VFS || flavor == Stacked {
					continue
				}
				// The mount has to agree, its listing of directories included.
				upper := s.mkdir("upper")
				must(t, InitRoot(upper, s.tree(), s.options()))
				same(t, treeList(t, s.tree(), true), dirList(t, s.mount(upper), true))
			}
		})
	}
}

func TestImpliedParentsAreThoseOfTheLayersBelow(t *testing.T) {
	for _, flavor := range flavors {
		t.Run(string(flavor), func(t *testing.T) {
			s := newStack(t, flavor)
			s.run(shell(t, "chmod 711 .; mkdir -p root/deep tmp srv; chmod 700 root; chmod 1777 tmp; chown 33:34 srv; setfattr -n user.k -v v srv; touch -d 2001-01-01 root root/deep tmp srv"))
			before := treeList(t, s.tree(), true)
			s.unpack(tarOf(t, fileHeader("root/x", "1"), fileHeader("root/deep/y", "1"), fileHeader("tmp/x", "1"), fileHeader("srv/x", "1")))
			s.unpack(tarOf(t, fileHeader("root/z", "1"), fileHeader("new/z", "1")))
			var after []string
			for _, l := range treeList(t, s.tree(), true) {
				if strings.Contains(l, " 5 ") && !strings.HasPrefix(l, `"new"`) {
					after = append(after, l)
				}
			}
			if flavor == VFS {
				before[0], after[0] = "", "" // the root's time
			}
			same(t, after, before)
			n, err := s.tree().Lstat("new")
			must(t, err)
			if n.Mode != 0o755 || n.UID != 0 || n.GID != 0 || n.ModTime.Unix() != 0 {
				t.Errorf("a directory that nothing describes is %o %d:%d %v", n.Mode, n.UID, n.GID, n.ModTime)
			}
		})
	}
}

// What only the layers below can complete is completed, however much there is of it.
func TestUnpackLeavesManyNamesToBeCompleted(t *testing.T) {
	const names = 2100
	path := func(dir string, n int) string { return fmt.Sprintf("%s/of-the-layer-below/%05d", dir, n) }
	dir := dirHeader("")
	dir.Mode = 0o711
	lower := []tar.Header{dirHeader("dirs"), dirHeader("files")}
	var upper []tar.Header
	var want []string
	for n := range names {
		dir.Name = path("dirs", n)
		lower = append(lower, dir, fileHeader(path("files", 2*n), "1"), fileHeader(path("files", 2*n+1), "2"))
		upper = append(upper,
			fileHeader(path("dirs", n)+"/x", "3"),
			fileHeader(fmt.Sprintf("files/of-the-layer-below/.wh.%05d", 2*n), ""),
			linkHeader(path("links", n), path("files", 2*n+1)))
		want = append(want, path("dirs", n)+"/", path("dirs", n)+"/x=3", path("files", 2*n+1)+"=2", path("links", n)+"=2")
	}
	s := newStack(t, Overlay)
	s.unpack(tarOf(t, lower...))
	s.unpack(tarOf(t, upper...))
	tree := s.tree()
	got := strings.Fields(brief(t, tree))
	want = append(want, "dirs/", "dirs/of-the-layer-below/", "files/", "files/of-the-layer-below/", "links/", "links/of-the-layer-below/")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the tree has %d names and should have %d", len(got), len(want))
	}
	for n := range names {
		if d, err := tree.Lstat(path("dirs", n)); err != nil || d.Mode != 0o711 {
			t.Fatalf("%s is %+v (%v)", path("dirs", n), d, err)
		}
	}
}

// Names take no memory until then.
func TestUnpackHoldsNoNames(t *testing.T) {
	var headers []tar.Header
	for n := range 20000 {
		headers = append(headers, fileHeader(fmt.Sprintf("directory/.wh.of-a-name-that-is-gone-%05d", n), ""))
	}
	s, data := newStack(t, Overlay), tarOf(t, headers...)
	dir, _ := s.next()
	before := heldMemory()
	p, err := Unpack(t.Context(), bytes.NewReader(data), dir, s.options())
	must(t, err)
	if held := heldMemory() - before; held > 1<<16 {
		t.Errorf("%d bytes are held", held)
	}
	runtime.KeepAlive(data)
	must(t, FixImplied(t.Context(), dir, NewTree(nil), p, s.options()))
	must(t, p.Close())
	s.push(dir)
	if got := brief(t, s.tree()); got != "directory/" {
		t.Errorf("the tree is %.100s", got)
	}
}

// heldMemory is how much is in use, in bytes.
func heldMemory() int64 {
	var m runtime.MemStats
	for range 3 { // pools keep what they have for one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestUnpackRefusesHostileTars(t *testing.T) {
	const text = "malformed layer"
	for _, tc := range []struct {
		name string
		tar  []byte
		want string
	}{
		{"climbs out", tarOf(t, fileHeader("../x", "")), text},
		{"climbs out in the middle", tarOf(t, fileHeader("a/../../x", "")), text},
		{"is nothing but dots", tarOf(t, dirHeader("..")), text},
		{"hard link climbs out", tarOf(t, linkHeader("x", "../../etc/passwd")), text},
		{"hard link to a directory", tarOf(t, dirHeader("d"), linkHeader("x", "d")), text},
		{"hard link to a file in the directory it replaces", tarOf(t, dirHeader("a"), fileHeader("a/f", "x"), linkHeader("a", "a/f")), text},
		{"hard link to nothing", tarOf(t, linkHeader("x", "nothing")), text},
		{"links in a circle", tarOf(t, symlinkHeader("a", "b"), symlinkHeader("b", "a"), fileHeader("a/x", "")), text},
		{"a file as a directory", tarOf(t, fileHeader("f", ""), fileHeader("f/x", "")), text},
		{"beneath a whiteout", tarOf(t, fileHeader(".wh.x/y", "")), text},
		{"beneath an opaque marker", tarOf(t, fileHeader(".wh..wh..opq/y", "")), text},
		{"hard link to what aufs lacks", tarOf(t, linkHeader("x", ".wh..wh.plnk/1.2")), text},
		{"a whiteout of the directory itself", tarOf(t, fileHeader("d/.wh..", "")), text},
		{"a root that is a file", tarOf(t, tar.Header{Name: "./", Typeflag: tar.TypeSymlink, Linkname: "x"}), text},
		{"an unknown type", tarOf(t, tar.Header{Name: "x", Typeflag: 'Z'}), text},
		{"ends early", tarOf(t, fileHeader("x", strings.Repeat("x", 5000)))[:2000], "unexpected EOF"},
		{"is no tar", bytes.Repeat([]byte("not a tar "), 200), "invalid tar header"},
		{"an owner beyond the range", tarOf(t, tar.Header{Name: "x", Typeflag: tar.TypeReg, Uid: 1 << 20}), "subordinate ids"},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			for _, flavor := range flavors {
				outer := t.TempDir()
				dir := filepath.Join(outer, "dir")
				must(t, os.Mkdir(dir, 0o755))
				o := DirOptions{Flavor: flavor, ExactOwners: true}
				p, err := Unpack(context.Background(), bytes.NewReader(tc.tar), dir, o)
				if err == nil {
					err = errors.Join(FixImplied(context.Background(), dir, NewTree(nil), p, o), p.Close())
				}
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: error %v, want %q", flavor, err, tc.want)
				}
				alone(t, outer)
			}
		})
	}
}

// alone checks that nothing was written beside dir.
func alone(t *testing.T, outer string) {
	t.Helper()
	names, err := os.ReadDir(outer)
	must(t, err)
	if len(names) != 1 {
		t.Errorf("written outside: %v", names)
	}
}

func TestUnpackDropsWhatIsTheDriversOwn(t *testing.T) {
	h := dirHeader("d")
	h.PAXRecords = map[string]string{}
	for _, name := range []string{nativeOpaque, fuseOpaque, "user.overlay.redirect", overrideStat, "trusted.overlay.opaque", "security.selinux", "user.kept"} {
		h.PAXRecords["SCHILY.xattr."+name] = "y"
	}
	dir := t.TempDir()
	_, err := Unpack(context.Background(), bytes.NewReader(tarOf(t, h)), dir, DirOptions{Flavor: Overlay, ExactOwners: true})
	must(t, err)
	buf := make([]byte, 1000)
	n, err := unix.Llistxattr(filepath.Join(dir, "d"), buf)
	must(t, err)
	if got := string(buf[:n]); got != "user.kept\x00" {
		t.Errorf("attributes %q", got)
	}
}

func TestUnpackEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Unpack(ctx, bytes.NewReader(tarOf(t, fileHeader("x", ""))), t.TempDir(), DirOptions{Flavor: Overlay, ExactOwners: true})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
