package context_test

import (
	stdctx "context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// tree makes a directory of files from "path": content; a path that ends with
// a slash is a directory, content that begins with "-> " a link.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		full := filepath.Join(root, path)
		var err error
		if strings.HasSuffix(path, "/") {
			err = os.MkdirAll(full, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(full), 0o755); err == nil {
			if target, ok := strings.CutPrefix(content, "-> "); ok {
				err = os.Symlink(target, full)
			} else {
				err = os.WriteFile(full, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t testing.TB, root string, o context.Options) *context.Dir {
	t.Helper()
	d, err := context.OpenDir(root, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func walk(t testing.TB, d *context.Dir, path string) []*context.Entry {
	t.Helper()
	var entries []*context.Entry
	err := d.Walk(t.Context(), path, func(e *context.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func paths(entries []*context.Entry) []string {
	var p []string
	for _, e := range entries {
		p = append(p, e.Path)
	}
	return p
}

func wantPaths(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWalkGivesParentsFirstAndNamesInByteOrder(t *testing.T) {
	d := open(t, tree(t, map[string]string{
		"b/y": "", "b/x": "", "B": "", "a": "", "b-": "", "empty/": "", ".hidden": "", "ü": "", "link": "-> b/x",
	}), context.Options{})
	entries := walk(t, d, "")
	wantPaths(t, paths(entries), "", ".hidden", "B", "a", "b", "b/x", "b/y", "b-", "empty", "link", "ü")
	for _, e := range entries {
		if (e.Path == "link") != e.IsLink() || e.IsLink() && e.Linkname != "b/x" {
			t.Errorf("%s: link %v to %q", e.Path, e.IsLink(), e.Linkname)
		}
	}
	wantPaths(t, paths(walk(t, d, "b")), "b", "b/x", "b/y")
	wantPaths(t, paths(walk(t, d, "/b/x")), "b/x")
}

func TestWalkOfManyFilesInOneDirectoryIsComplete(t *testing.T) {
	files := map[string]string{".dockerignore": "*7\n!x00007\n"}
	var want []string
	for i := range 5000 {
		name := fmt.Sprintf("x%05d", i)
		files[name] = ""
		if i%10 != 7 || i == 7 {
			want = append(want, name)
		}
	}
	d := open(t, tree(t, files), context.Options{})
	wantPaths(t, paths(walk(t, d, ""))[2:], want...)
}

func TestIgnoreFileLeavesOut(t *testing.T) {
	files := map[string]string{
		"app/main.go": "", "app/main.log": "", "app/deep/x.log": "", "top.log": "",
		"node_modules/a/index.js": "", "node_modules/b/index.js": "", "node_modules/b/keep/me": "",
		"docs/a.md": "", "docs/README.md": "",
	}
	all := []string{
		"app", "app/deep", "app/deep/x.log", "app/main.go", "app/main.log", "docs", "docs/README.md", "docs/a.md",
		"node_modules", "node_modules/a", "node_modules/a/index.js", "node_modules/b", "node_modules/b/index.js",
		"node_modules/b/keep", "node_modules/b/keep/me", "top.log",
	}
	without := func(prefixes ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(p string) bool {
			return slices.ContainsFunc(prefixes, func(x string) bool { return p == x || strings.HasPrefix(p, x+"/") })
		})
	}
	for _, test := range []struct {
		name, rules string
		want        []string
	}{
		{"nothing for comments and blank lines", "# all\n\n  \n", all},
		{"a directory with all in it", "node_modules\n", without("node_modules")},
		{"a leading slash means nothing", "/node_modules/\n", without("node_modules")},
		{"a star stays in its directory", "*.log", without("top.log")},
		{"two stars reach any depth", "**/*.log", without("top.log", "app/main.log", "app/deep/x.log")},
		{"an exception brings back", "docs/*.md\n!docs/README.md", without("docs/a.md")},
		{"the last line wins", "!docs/README.md\ndocs/*.md", without("docs/a.md", "docs/README.md")},
		{
			"an exception in an excluded directory brings its parents along", "node_modules\n!node_modules/b/keep",
			without("node_modules/a", "node_modules/b/index.js"),
		},
		{"an exception that matches nothing brings no directory along", "node_modules\n!node_modules/b/none", without("node_modules")},
		{"all but", "*\n!app\n!docs/*.md", without("node_modules", "top.log")},
		{"all but any depth", "**\n!**/*.js", []string{
			"node_modules", "node_modules/a", "node_modules/a/index.js", "node_modules/b", "node_modules/b/index.js",
		}},
		{"a byte order mark is no pattern", "\ufeffnode_modules\n", without("node_modules")},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := tree(t, files)
			// The rules stand outside, so that they aren't listed themselves.
			dockerfile := filepath.Join(t.TempDir(), "Dockerfile")
			if err := os.WriteFile(dockerfile+".dockerignore", []byte(test.rules), 0o644); err != nil {
				t.Fatal(err)
			}
			d := open(t, root, context.Options{Dockerfile: dockerfile})
			wantPaths(t, paths(walk(t, d, ""))[1:], test.want...)
			for _, p := range all {
				if got, by := d.Excluded(p); got && slices.Contains(test.want, p) && !isParent(p, test.want) {
					t.Errorf("%s is walked, but Excluded says %q", p, by)
				} else if !got && !slices.Contains(test.want, p) {
					t.Errorf("%s isn't walked, but not Excluded either", p)
				}
			}
		})
	}
}

func isParent(dir string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, dir+"/") })
}

func TestIgnoreFileOfTheDockerfileComesFirst(t *testing.T) {
	root := tree(t, map[string]string{
		"a": "", "b": "", "c": "",
		"docker/Dockerfile.dockerignore": "a", ".dockerignore": "b", ".containerignore": "c",
	})
	hidden := func(d *context.Dir) string {
		for _, p := range []string{"a", "b", "c"} {
			if out, _ := d.Excluded(p); out {
				return p + " by " + d.IgnoreFile()
			}
		}
		return "none"
	}
	d := open(t, root, context.Options{Dockerfile: filepath.Join(root, "docker/Dockerfile")})
	if got := hidden(d); got != "a by Dockerfile.dockerignore" {
		t.Error(got)
	}
	d = open(t, root, context.Options{Dockerfile: filepath.Join(root, "Dockerfile")})
	if got := hidden(d); got != "b by .dockerignore" {
		t.Error(got)
	}
	if err := os.Remove(filepath.Join(root, ".dockerignore")); err != nil {
		t.Fatal(err)
	}
	if got := hidden(open(t, root, context.Options{})); got != "c by .containerignore" {
		t.Error(got)
	}
}

func TestExcludedNamesTheLine(t *testing.T) {
	d := open(t, tree(t, map[string]string{".dockerignore": "# logs\n*.log\n\n!keep.log\nbuild\n"}), context.Options{})
	for path, want := range map[string]string{
		"x.log": ".dockerignore:2: *.log", "keep.log": "", "build/deep/x": ".dockerignore:5: build", "src": "", "": "",
	} {
		if out, by := d.Excluded(path); by != want || out != (want != "") {
			t.Errorf("%q: %v by %q, want %q", path, out, by, want)
		}
	}
}

func TestMalformedIgnoreFileIsNamedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\n[b\n":     ".dockerignore:2: [b: syntax error in pattern",
		"!\n":         ".dockerignore:1: !: illegal exclusion pattern",
		"a\n!b\\18\n": ".dockerignore:2: !b\\18: syntax error in pattern",
		"!!b\\e\n":    ".dockerignore:1: !!b\\e: syntax error in pattern",
	} {
		_, err := context.OpenDir(tree(t, map[string]string{".dockerignore": text}), context.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOpenDirSaysWhatIsWrong(t *testing.T) {
	root := tree(t, map[string]string{"file": ""})
	for path, want := range map[string]string{"none": "doesn't exist", "file": "is a file, no directory"} {
		_, err := context.OpenDir(filepath.Join(root, path), context.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || fault.Remedy(err) == "" {
			t.Errorf("%s: %v (%s)", path, err, fault.Remedy(err))
		}
	}
}

func TestSpecialFiles(t *testing.T) {
	root := tree(t, map[string]string{"file": ""})
	if err := unix.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(root, "socket")}); err != nil {
		t.Fatal(err)
	}
	d := open(t, root, context.Options{})
	wantPaths(t, paths(walk(t, d, "")), "", "file", "pipe", "socket")
	socket, err := d.Lstat("socket")
	if err != nil || !socket.IsRegular() {
		t.Fatalf("a socket is no plain file: %v", err)
	}
	if dgst, err := d.Digest(t.Context(), socket); err != nil || dgst != digest.FromString("") {
		t.Errorf("a socket's content is %s, %v", dgst, err)
	}
	if err := unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Skip("making a device needs root: sudo go test ./build/context")
	}
	err = d.Walk(t.Context(), "", func(*context.Entry) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "device file null") {
		t.Error(err)
	}
}

func TestUnreadableDirectoryIsNamed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything: run go test as an ordinary user")
	}
	root := tree(t, map[string]string{"data/secret/x": "", ".dockerignore": "# nothing"})
	if err := os.Chmod(filepath.Join(root, "data/secret"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(root, "data/secret"), 0o700) })
	err := open(t, root, context.Options{}).Walk(t.Context(), "", func(*context.Entry) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "data/secret") || !strings.Contains(fault.Remedy(err), ".dockerignore") {
		t.Errorf("%v (%s)", err, fault.Remedy(err))
	}
}

func TestWalkEndsWithItsContext(t *testing.T) {
	ctx, cancel := stdctx.WithCancel(t.Context())
	cancel()
	err := open(t, tree(t, map[string]string{"a/b": ""}), context.Options{}).Walk(ctx, "", func(*context.Entry) error { return nil })
	if !errors.Is(err, stdctx.Canceled) {
		t.Error(err)
	}
}

// memory is a digest cache in memory.
type memory struct {
	mu   sync.Mutex
	m    map[string]digest.Digest
	puts int
}

func (m *memory) Get(rel string, st *unix.Stat_t) (digest.Digest, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.m[fmt.Sprint(rel, st.Size, st.Mtim, st.Ctim, st.Ino)]
	return d, ok
}

func (m *memory) Put(rel string, st *unix.Stat_t, d digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	m.m[fmt.Sprint(rel, st.Size, st.Mtim, st.Ctim, st.Ino)] = d
}

func TestDigestsAreOfTheContentAndRemembered(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 128<<10/16) // exactly one buffer
	files := map[string]string{"empty": "", "small": "hello", "big": big, "bigger": big + "x", "dir/": "", "link": "-> small"}
	cache := &memory{m: map[string]digest.Digest{}}
	d := open(t, tree(t, files), context.Options{Digests: cache})
	for range 2 {
		entries := walk(t, d, "")
		digests, err := d.Digests(t.Context(), entries)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			want := digest.Digest("")
			if e.IsRegular() {
				want = digest.FromString(files[e.Path])
				if one, err := d.Digest(t.Context(), e); err != nil || one != want {
					t.Errorf("Digest(%s) = %s, %v", e.Path, one, err)
				}
			}
			if digests[i] != want {
				t.Errorf("%s: %s, want %s", e.Path, digests[i], want)
			}
		}
	}
	if cache.puts != 4 {
		t.Errorf("%d files read, want 4", cache.puts)
	}
}

func TestFileThatChangedIsNotDigestedNorOpened(t *testing.T) {
	root := tree(t, map[string]string{"a": "one", "b": "two", "c": "three"})
	d := open(t, root, context.Options{})
	entries := walk(t, d, "")[1:]
	// Longer, replaced by a link to a secret, replaced by another file.
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c"} {
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "c"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := d.Digest(t.Context(), e); err == nil {
			t.Errorf("digested %s", e.Path)
		}
		if f, err := d.Open(e); err == nil {
			_ = f.Close()
			t.Errorf("opened %s", e.Path)
		}
	}
}

func TestUnchangedNoticesAWriteAfterOpening(t *testing.T) {
	root := tree(t, map[string]string{"a": "one"})
	d := open(t, root, context.Options{})
	e := walk(t, d, "a")[0]
	f, err := d.Open(e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := d.Unchanged(e, f); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("more"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Unchanged(e, f); err == nil || fault.Remedy(err) == "" {
		t.Errorf("a write was missed: %v", err)
	}
}
