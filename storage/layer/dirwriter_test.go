package layer

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/pathorder"
)

func file(path, content string) *Entry {
	return &Entry{
		Path: path, Type: TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: written,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

func directory(path string) *Entry {
	return &Entry{Path: path, Type: TypeDir, Mode: 0o755, ModTime: written}
}

func with(e *Entry, change func(*Entry)) *Entry {
	change(e)
	return e
}

// writes are what a COPY can put over the base of the other tests.
var writes = []struct {
	name    string
	entries []*Entry
	want    string
	// differing says that the entries alone, without a directory, must give
	// the same layer.
	differing bool
}{
	{"a file into an old directory", []*Entry{file("srv/data/new", "x")}, "i srv/\ni srv/data/\nf srv/data/new\n", true},
	{"a file that is there already", []*Entry{with(file("etc/hosts", "host\n"), func(e *Entry) { e.ModTime = time.Unix(981173106, 0) })}, "", true},
	{"a file over a file", []*Entry{file("etc/hosts", "x")}, "i etc/\nf etc/hosts\n", true},
	{"a file over a directory", []*Entry{file("srv/data", "x")}, "i srv/\nf srv/data\n", true},
	{"a directory over a file", []*Entry{directory("etc/hosts"), file("etc/hosts/x", "x")}, "i etc/\nd etc/hosts/\nf etc/hosts/x\n", true},
	{"a directory over a link", []*Entry{directory("bin"), file("bin/x", "x")}, "d bin/\nf bin/x\n", true},
	{"a directory is merged", []*Entry{with(directory("srv"), func(e *Entry) { e.UID, e.Mode = 44, 0o2700 }), file("srv/data/a", "x")}, "d srv/\ni srv/data/\nf srv/data/a\n", true},
	{"new parents", []*Entry{file("opt/a/b", "x")}, "d opt/\nd opt/a/\nf opt/a/b\n", true},
	{"below a directory of mode 0700", []*Entry{file("root/x", "x")}, "i root/\nf root/x\n", true},
	{"links, pipes, owners, modes", []*Entry{
		directory("n"), with(file("n/f", "x"), func(e *Entry) { e.Mode, e.UID, e.GID = 0o6755, 1, 65535 }),
		{Path: "n/h", Type: TypeLink, Mode: 0o6755, UID: 1, GID: 65535, Linkname: "n/f", ModTime: written},
		{Path: "n/l", Type: TypeSymlink, Mode: 0o777, UID: 3, Linkname: "/x", ModTime: written},
		{Path: "n/p", Type: TypeFifo, Mode: 0o622, GID: 4, ModTime: written},
		with(file("n/x", "y"), func(e *Entry) { e.Xattrs = map[string]string{"user.a": "b"} }),
	}, "d n/\nf n/f\nh n/h -> n/f\nl n/l -> /x\np n/p\nf n/x user.a\n", true},
	{"a hard link to an old file becomes a copy", []*Entry{{Path: "etc/copy", Type: TypeLink, Linkname: "srv/data/a"}}, "i etc/\nf etc/copy\n", false},
	{"a whiteout", []*Entry{{Path: "srv/data", Whiteout: true}, {Path: "nothing/x", Whiteout: true}}, "i srv/\nw srv/data\n", false},
	{"a whiteout and a new directory", []*Entry{{Path: "srv/data", Whiteout: true}, file("srv/data/a", "x")}, "i srv/\nd srv/data/\nf srv/data/a\nw srv/data/b\nw srv/data/deep\nw srv/data/h1\nw srv/data/h2\n", false},
	{"a whiteout and directories of the old names", []*Entry{{Path: "srv/data", Whiteout: true}, file("srv/data/deep/n", "x")}, "i srv/\nd srv/data/\nw srv/data/a\nw srv/data/b\nd srv/data/deep/\nw srv/data/deep/c\nw srv/data/deep/h3\nf srv/data/deep/n\nw srv/data/h1\nw srv/data/h2\n", false},
	{"a new file and then none", []*Entry{file("srv/x", "x"), {Path: "srv/x", Whiteout: true}, file("srv/d/x", "x"), {Path: "srv/d", Whiteout: true}}, "", false},
	{"a directory, a file, a directory", []*Entry{directory("keep"), file("keep", "x"), directory("keep"), file("keep/n", "x")}, "d keep/\nw keep/d\nf keep/n\n", false},
	{"the last of two counts", []*Entry{file("etc/n", "1"), file("etc/n", "22")}, "i etc/\nf etc/n\n", false},
	{"the root", []*Entry{with(directory(""), func(e *Entry) { e.Mode = 0o700 })}, "d /\n", true},
}

func TestDirWriterWritesTheSameLayerForAllDrivers(t *testing.T) {
	for _, tc := range writes {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			rule := TimeRule{Mode: TimeExact, Epoch: 1e9}
			var first []byte
			for _, flavor := range flavors {
				s := newStack(t, flavor)
				s.run(shell(t, base))
				parent := s.tree()
				layer := s.write(func(w *DirWriter) {
					for _, e := range tc.entries {
						must(t, w.Write(e))
					}
				})
				if list := listing(t, layer); list != tc.want {
					t.Errorf("%s: the layer has\n%swant\n%s", flavor, list, tc.want)
				}
				got := packed(t, layer, rule)
				if first == nil {
					first = got
				} else if !bytes.Equal(first, got) {
					t.Errorf("%s: other bytes than under %s:\n%s", flavor, flavors[0], difference(first, got))
				}
				if direct := packed(t, Differing(sortedEntries(tc.entries), parent), rule); tc.differing && !bytes.Equal(first, direct) {
					t.Errorf("%s: written straight into the tar:\n%s", flavor, difference(first, direct))
				}
				agree(t, s)
			}
		})
	}
}

func TestDirWriterRefusesWhatCanNotBe(t *testing.T) {
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, base))
		for path, want := range map[string]error{"etc/hosts/x": unix.ENOTDIR, "bin/x": unix.ENOTDIR} {
			dir, _ := s.next()
			w := NewDirWriter(dir, s.tree(), s.options())
			if err := w.Write(file(path, "x")); !errors.Is(err, want) {
				t.Errorf("%s: %s: error %v, want %v", flavor, path, err, want)
			}
			if err := w.Write(&Entry{Path: "etc", Type: TypeLink, Linkname: "etc/hosts"}); err == nil || !strings.Contains(err.Error(), "within") {
				t.Errorf("%s: a hard link to a file in the directory it replaces: error %v", flavor, err)
			}
			for _, path := range []string{".wh.x", "new/.wh.d/x"} {
				if err := w.Write(file(path, "x")); err == nil || !strings.Contains(err.Error(), "deleted files") {
					t.Errorf("%s: the reserved name %s: error %v", flavor, path, err)
				}
			}
			must(t, w.Close())
			must(t, removeAll(unix.AT_FDCWD, dir))
		}
	}
}

// TestSingleIDKeepsOwners writes, unpacks and reads owners that the files
// themselves don't have.
func TestSingleIDKeepsOwners(t *testing.T) {
	entries := []*Entry{
		with(directory("d"), func(e *Entry) { e.UID, e.GID = 33, 34 }),
		with(file("d/f", "x"), func(e *Entry) { e.UID, e.GID, e.Mode = 3_000_000_000, 200, 0o4755 }),
		{Path: "d/h", Type: TypeLink, Mode: 0o4755, UID: 3_000_000_000, GID: 200, Linkname: "d/f", ModTime: written},
		{Path: "d/l", Type: TypeSymlink, Mode: 0o777, UID: 5, GID: 4_294_967_294, Linkname: "f", ModTime: written},
		{Path: "d/p", Type: TypeFifo, Mode: 0o600, UID: 7, GID: 8, ModTime: written},
		file("d/root", "x"),
	}
	want := packed(t, Differing(sortedEntries(entries), NewTree(nil)), TimeRule{})
	for _, flavor := range []Flavor{Fuse, Overlay} {
		dir, owners := t.TempDir(), NewOwners(t.TempDir())
		must(t, unix.Chmod(dir, 0o755))
		o := DirOptions{Flavor: flavor, Owners: owners}
		w := NewDirWriter(dir, NewTree(nil), o)
		for _, e := range entries {
			must(t, w.Write(e))
		}
		must(t, w.Close())
		u := UpperOptions{Flavor: flavor, Owners: owners}
		if got := packed(t, Upper(dir, NewSingleIDTree(nil, nil), u), TimeRule{}); !bytes.Equal(got, want) {
			t.Errorf("%s: written and packed:\n%s", flavor, difference(want, got))
		}
		s := newStack(t, flavor)
		lower, above := s.mkdir("lower"), s.mkdir("above")
		o.Owners, u.Owners = NewOwners(t.TempDir()), NewOwners(t.TempDir())
		p, err := Unpack(t.Context(), bytes.NewReader(want), lower, o)
		must(t, err)
		must(t, FixImplied(t.Context(), lower, NewTree(nil), p, o))
		must(t, p.Close())
		tree := NewSingleIDTree([]string{lower}, []*Owners{o.Owners})
		for _, e := range entries {
			n, err := tree.Lstat(e.Path)
			must(t, err)
			if e.Type != TypeLink && (n.UID != e.UID || n.GID != e.GID || n.Stat.Uid != 0) {
				t.Errorf("%s: %s belongs to %d:%d, on disk to %d", flavor, e.Path, n.UID, n.GID, n.Stat.Uid)
			}
		}
		// What an instruction copies up keeps its owner.
		s.layers = []string{lower}
		root := s.mount(above)
		shell(t, "touch -h -d 2020-01-01 d/l; echo more >> d/f; chmod 700 d; echo new > d/new; touch -d 2020-01-01 d")(root)
		must(t, unmount(root))
		must(t, Settle(t.Context(), above, tree, DirOptions{Flavor: flavor, Owners: u.Owners}))
		got := map[string][2]uint32{}
		must(t, Upper(above, tree, u).Walk(t.Context(), func(e *Entry) error {
			got[e.Path] = [2]uint32{e.UID, e.GID}
			return nil
		}))
		for path, owner := range map[string][2]uint32{"d": {33, 34}, "d/f": {3_000_000_000, 200}, "d/l": {5, 4_294_967_294}, "d/new": {}} {
			if got[path] != owner {
				t.Errorf("%s: in the layer above %s belongs to %v, want %v", flavor, path, got[path], owner)
			}
		}
	}
}

// sortedEntries makes a Source of entries that come in any order.
func sortedEntries(entries []*Entry) Source {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b *Entry) int { return pathorder.Compare(a.Path, b.Path) })
	return Entries(sorted)
}
