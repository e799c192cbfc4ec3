package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestResolveStaysInTheTree(t *testing.T) {
	s := newStack(t, Overlay)
	s.run(shell(t, `mkdir -p usr/bin a/b; ln -s usr/bin bin; ln -s /etc abs; ln -s ../../../../usr up; ln -s loop loop
		ln -s a/b/../x rel; echo x > file; ln -s file tofile; ln -s /nowhere/deep dangling; ln -s . self; mkdir gone`))
	s.run(shell(t, "rmdir gone; ln -sfn a new; rm -r a; mkdir a"))
	tree := s.tree()
	for _, tc := range []struct {
		path   string
		follow bool
		want   string
		err    error
	}{
		{"", true, "", nil},
		{"/", true, "", nil},
		{"usr/bin", true, "usr/bin", nil},
		{"/bin/sh", true, "usr/bin/sh", nil},
		{"bin", false, "bin", nil},
		{"bin", true, "usr/bin", nil},
		{"bin/", false, "usr/bin", nil},
		{"abs/passwd", true, "etc/passwd", nil},
		{"up/x", true, "usr/x", nil},
		{"../../usr", true, "usr", nil},
		{"new/x/y/z", true, "a/x/y/z", nil},
		{"rel", true, "a/x", nil},
		{"tofile", true, "file", nil},
		{"tofile/x", true, "", unix.ENOTDIR},
		{"dangling/er", true, "nowhere/deep/er", nil},
		{"self/self/self/usr", true, "usr", nil},
		{"gone/x", true, "gone/x", nil},
		{"loop", true, "", unix.ELOOP},
		{"loop", false, "loop", nil},
		{"usr/./bin//x/..", true, "usr/bin", nil},
	} {
		got, err := tree.Resolve(tc.path, tc.follow)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("Resolve(%q, %v) = %q, %v; want %q, %v", tc.path, tc.follow, got, err, tc.want, tc.err)
		}
	}
}

func TestTreeNeverFollowsALink(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644))
	lower, upper := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(lower, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(lower, "d/f"), []byte("f"), 0o644))
	for name, target := range map[string]string{"d": outside, "l": "/"} {
		must(t, os.Symlink(target, filepath.Join(upper, name)))
	}
	must(t, os.Symlink(outside+"/secret", filepath.Join(upper, "s")))
	must(t, unix.Mkfifo(filepath.Join(upper, "pipe"), 0o600))
	tree := NewTree([]string{upper, lower})
	for _, path := range []string{"d/secret", "d/f", "l/etc/passwd", "s/x"} {
		if _, err := tree.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Lstat(%q): %v", path, err)
		}
		if _, err := tree.Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v", path, err)
		}
	}
	for _, path := range []string{"s", "d", "pipe", ""} {
		if f, err := tree.Open(path); err == nil {
			t.Errorf("Open(%q) = %v", path, f.Name())
		}
	}
	if _, err := tree.ReadDir("d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir of a link: %v", err)
	}
}

func TestTreeOfAnEmptyImage(t *testing.T) {
	tree := NewTree(nil)
	n, err := tree.Lstat("/")
	must(t, err)
	if n.Type != TypeDir || n.Mode != 0o755 || n.UID != 0 {
		t.Errorf("root %+v", n.Entry)
	}
	if list, err := tree.ReadDir(""); err != nil || len(list) != 0 {
		t.Errorf("ReadDir: %v, %v", list, err)
	}
	if _, err := tree.Lstat("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lstat: %v", err)
	}
}

func TestTreeReadsFilesOfLimitedSize(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("12345"), 0o644))
	tree := NewTree([]string{dir})
	if data, err := tree.ReadFile("f", 5); err != nil || string(data) != "12345" {
		t.Errorf("ReadFile: %q, %v", data, err)
	}
	if _, err := tree.ReadFile("f", 4); err == nil {
		t.Error("a file beyond the limit is read")
	}
}

// TestFuseWhiteoutFiles reads what fuse-overlayfs leaves where it may not make
// devices.
func TestFuseWhiteoutFiles(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b", "d/x", "d/y"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(lower, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(lower, name), []byte("x"), 0o644))
	}
	must(t, os.Mkdir(filepath.Join(upper, "d"), 0o755))
	for _, name := range []string{".wh.a", "d/.wh..wh..opq", "d/z"} {
		must(t, os.WriteFile(filepath.Join(upper, name), nil, 0o644))
	}
	if got := brief(t, NewTree([]string{upper, lower})); got != "b=x d/ d/z=" {
		t.Errorf("tree %s", got)
	}
	must(t, os.Chmod(upper, 0o755))
	must(t, os.Chmod(lower, 0o755))
	must(t, os.Chtimes(filepath.Join(lower, "d"), written, written))
	got := listing(t, Upper(upper, NewTree([]string{lower}), UpperOptions{Flavor: Fuse, ExactOwners: true}))
	if got != "w a\nd d/\nw d/x\nw d/y\nf d/z\n" {
		t.Errorf("the layer has\n%s", got)
	}
}

func TestTreeCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 400 {
		must(t, os.MkdirAll(filepath.Join(dir, fmt.Sprint(i), "sub"), 0o755))
	}
	before := openFDs(t)
	tree := NewTree([]string{dir})
	for range 2 {
		must(t, tree.Walk("", func(*Node) error { return nil }))
	}
	if n := openFDs(t) - before; n > maxTreeFDs+8 {
		t.Errorf("the tree holds %d descriptors", n)
	}
	must(t, tree.Close())
	if n := openFDs(t) - before; n > 8 {
		t.Errorf("%d descriptors are left after Close", n)
	}
	runtime.KeepAlive(tree)
}

// TestWalksLeaveNothingOfTheParentOpen keeps the parent's tree in use.
func TestWalksLeaveNothingOfTheParentOpen(t *testing.T) {
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, base))
		parent := s.tree()
		_ = s.run(shell(t, "echo more >> srv/data/deep/c; rm -r keep; echo x > etc/new"))
		src := Upper(s.layers[0], parent, s.upperOptions())
		if flavor == VFS {
			src = Compare(s.layers[0], &Base{}, parent, s.upperOptions())
		}
		before := openFDs(t)
		_, err := parent.ReadDir("srv/data/deep")
		must(t, err)
		want := listing(t, src)
		if n := openFDs(t) - before; n > 0 {
			t.Errorf("%s: %d descriptors are left after a walk", flavor, n)
		}
		must(t, Settle(t.Context(), s.layers[0], parent, s.options()))
		if n := openFDs(t) - before; n > 0 {
			t.Errorf("%s: %d descriptors are left after settling", flavor, n)
		}
		if again := listing(t, src); again != want {
			t.Errorf("%s: another walk gives\n%safter\n%s", flavor, again, want)
		}
		runtime.KeepAlive(parent)
	}
}

func TestBaseHasTheFilesOfACopy(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	shell(t, base+"touch srv/data-after srv/data+before")(src)
	path := filepath.Join(t.TempDir(), "base")
	_, err := CopyTree(t.Context(), dst, src, path)
	must(t, err)
	same(t, dirList(t, dst, true), dirList(t, src, true))
	b, err := LoadBase(path)
	must(t, err)
	r, err := b.open()
	must(t, err)
	defer r.close()
	r.noted.sec++ // whatever was copied in the last tick
	must(t, NewTree([]string{dst}).Walk("", func(n *Node) error {
		other := n.Stat
		other.Ctim.Nsec ^= 1
		if has := r.has(n.Path, &n.Stat); has != (n.Path != "") || r.has(n.Path, &other) {
			t.Errorf("%s: %v", n.Path, has)
		}
		return nil
	}))
	data, err := os.ReadFile(path)
	must(t, err)
	for _, bad := range [][]byte{nil, data[:len(data)-2], []byte("something else"), append([]byte(baseMagic), 2, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1)} {
		must(t, os.WriteFile(path, bad, 0o600))
		if _, err := LoadBase(path); err == nil {
			t.Errorf("a damaged base of %d bytes is read", len(bad))
		}
	}
}

func TestStampsOfTheLastTickProveNothing(t *testing.T) {
	noted := ctime{100, 500}
	for _, tc := range []struct {
		t    ctime
		want bool
	}{{ctime{99, 999}, true}, {ctime{100, 499}, true}, {ctime{100, 500}, false}, {ctime{100, 0}, false}, {ctime{99, 0}, true}, {ctime{101, 1}, false}} {
		if got := tc.t.before(noted); got != tc.want {
			t.Errorf("%v before %v: %v", tc.t, noted, got)
		}
	}
}
