package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/tests/rootfs"
)

// baseName is the image that cases build upon.
const baseName = "busybox"

// historyComment stands at the history's entries that a build makes.
const historyComment = "buildkit.dockerfile.v0"

// ground is one way for builder to work. All have to give the same bytes; refusal is
// what a build has to say that a ground's nature doesn't allow.
type ground struct {
	name    string
	wrap    []string // the command that runs builder there
	flags   []string // global ones
	bud     []string // of the build
	refusal string
}

// grounds begin with that on which also the cases are built that have to fail.
var grounds = []ground{
	{name: "fuse-overlayfs", flags: []string{"--storage-driver", "fuse-overlayfs"}},
	{name: "overlay", flags: []string{"--storage-driver", "overlay"}},
	{name: "vfs", flags: []string{"--storage-driver", "vfs"}},
	{name: "chroot", flags: []string{"--isolation", "chroot", "--storage-driver", "overlay"}},
	{name: "single", wrap: singleID, flags: []string{"--storage-driver", "fuse-overlayfs"}, refusal: "--emulate-ids|" + mountsOwner},
	{name: "emulated", wrap: singleID, bud: []string{"--emulate-ids"}, refusal: mountsOwner},
	{name: "own", wrap: noNamespace, refusal: "RUN .*nothing can be run here"},
}

// mountsOwner is said where a mount is to belong to an id that isn't mapped.
const mountsOwner = "the mount can't belong to .* this id isn't mapped"

var (
	// singleID keeps newuidmap from mapping ids.
	singleID = []string{"setpriv", "--no-new-privs"}
	// noNamespace lets no user namespace be made.
	noNamespace = []string{
		"unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
		`echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps=-all --inh-caps=-all "$@"`, "sh",
	}
)

func TestConformance(t *testing.T) {
	if os.Getuid() == 0 {
		t.Fatal("builder is for unprivileged users, and so are its tests: run `make test-e2e`, which steps down from root")
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var cases []*testCase
	for _, file := range files {
		c, err := readCase(file)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	s := newSuite(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, c)
		})
	}
}

// suite has a store for each ground, which has to be in order at the end, whatever
// has failed upon it.
type suite struct {
	binary, dir, server string
	base                tree
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	cache, err := rootfs.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "c")
	if err != nil {
		t.Fatal(err)
	}
	files := http.NewServeMux()
	files.Handle("/", http.FileServer(http.Dir(filepath.Join(dir, "case"))))
	files.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page\n") })
	server := httptest.NewServer(files)
	t.Cleanup(server.Close)
	s := &suite{binary: os.Getenv("BUILDER_TEST_BINARY"), dir: dir, server: server.URL, base: tree{}}
	if s.binary == "" {
		t.Fatal("BUILDER_TEST_BINARY names no binary to test: run `make test-e2e`")
	}
	tarball := filepath.Join(dir, "base.tar")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "run"), 0o700), rootfs.Busybox(tarball)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, g := range grounds {
			for _, args := range [][]string{{"system", "check"}, {"system", "reset", "--force"}} {
				if out, err := s.builder(g, nil, args...); err != nil {
					t.Errorf("%s: %v\n%s", g.name, err, out)
				}
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.importBase(t, tarball)
	l := s.layout(grounds[0])
	img, err := l.find(baseName + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range img.layers {
		if err := l.apply(s.base, layer); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// importBase gives all stores the same base: an import is dated.
func (s *suite) importBase(t *testing.T, tarball string) {
	t.Helper()
	archive := filepath.Join(s.dir, "base.oci")
	for i, g := range grounds {
		commands := [][]string{{"load", "-i", archive}}
		if i == 0 {
			commands = [][]string{{"import", tarball, baseName}, {"save", "--format", "oci-archive", "-o", archive, baseName}}
		}
		for _, args := range commands {
			if out, err := s.builder(g, nil, args...); err != nil {
				t.Fatalf("%s: %v\n%s", g.name, err, out)
			}
		}
	}
}

func (s *suite) root(g ground) string { return filepath.Join(s.dir, g.name) }

func (s *suite) layout(g ground) layout { return layout(filepath.Join(s.root(g), "images")) }

// builder runs it on one ground, and gives all that it printed.
func (s *suite) builder(g ground, env []string, args ...string) (string, error) {
	argv := slices.Concat(g.wrap, []string{s.binary}, g.flags, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{
		"BUILDER_ROOT=" + s.root(g), "XDG_RUNTIME_DIR=" + filepath.Join(s.dir, "run"), "HOME=" + s.dir,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "SERVER=" + s.server,
		"BUILDER_ISOLATION=" + os.Getenv("BUILDER_ISOLATION"),
	}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (s *suite) run(t *testing.T, c *testCase) {
	context := filepath.Join(s.dir, "case", c.name)
	if err := errors.Join(os.MkdirAll(context, 0o755), c.lay(context)); err != nil {
		t.Fatal(err)
	}
	if c.expectsError {
		s.fails(t, c, context)
		return
	}
	var first *image
	for i, g := range grounds {
		jobs := []string{"--jobs=1", "--jobs=8"}
		if i%2 == 1 {
			slices.Reverse(jobs)
		}
		for n, how := range [][]string{{"--no-cache", jobs[0]}, {jobs[1]}} {
			img, out := s.build(t, c, g, context, how)
			switch {
			case img == nil: // and that's right
			case first == nil:
				first = img
				s.check(t, c, img, out)
			case img.manifest != first.manifest:
				t.Fatalf("%s %v: the image is\n%v\nnot\n%v\n%s", g.name, how, img, first, out)
			}
			if n == 1 && img != nil && strings.Contains(out, "Running in") {
				t.Errorf("%s: a step of a known build ran:\n%s", g.name, out)
			}
		}
	}
}

func (c *testCase) arguments(context string, more ...string) []string {
	args := append([]string{"bud", "--timestamp", "1700000000", "--compression", "none", "--network", "none", "-t", c.name}, more...)
	return append(append(args, c.args...), context)
}

// build gives no image where the ground doesn't allow the build, and says so.
func (s *suite) build(t *testing.T, c *testCase, g ground, context string, how []string) (*image, string) {
	t.Helper()
	out, err := s.builder(g, c.env, c.arguments(context, slices.Concat(g.bud, how)...)...)
	if err != nil {
		if g.refusal != "" && regexp.MustCompile("(?m)"+g.refusal).MatchString(out) {
			return nil, out
		}
		t.Fatalf("%s %v: %v\n%s", g.name, how, err, out)
	}
	img, err := s.layout(g).find(c.name + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	return img, out
}

func (s *suite) fails(t *testing.T, c *testCase, context string) {
	out, err := s.builder(grounds[0], c.env, c.arguments(context)...)
	if err == nil {
		t.Fatalf("it was built:\n%s", out)
	}
	matches(t, out, c.error)
	if _, err := s.layout(grounds[0]).find(c.name + ":latest"); err == nil {
		t.Error("an image was named")
	}
}

func matches(t *testing.T, text string, expressions []string) {
	t.Helper()
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)" + e).MatchString(text) {
			t.Errorf("nothing matches %s in\n%s", e, text)
		}
	}
}

func (s *suite) check(t *testing.T, c *testCase, img *image, out string) {
	t.Helper()
	matches(t, out, c.output)
	if err := errors.Join(members(img.config.Config, c.config), members(img.top, c.top)); err != nil {
		t.Error(err)
	}
	if c.hasHistory {
		var got []string
		for _, h := range img.config.History {
			if h.Comment == historyComment { // else it is the base's
				got = append(got, lines([]byte(h.CreatedBy))...)
			}
		}
		compare(t, "history", got, c.history)
	}
	if !c.hasTree {
		return
	}
	l, built := s.layout(grounds[0]), tree{}
	for _, layer := range img.layers {
		if err := l.apply(built, layer); err != nil {
			t.Fatal(err)
		}
	}
	base := s.base
	if _, upon := built["/bin/busybox"]; !upon {
		base = tree{}
	}
	compare(t, "tree", built.lines(base), c.tree)
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// members compares those that are wanted.
func members(got, want map[string]json.RawMessage) error {
	var errs []error
	for name, text := range want {
		var a, b any
		if err := json.Unmarshal(text, &b); err != nil {
			return err
		}
		if got[name] != nil {
			if err := json.Unmarshal(got[name], &a); err != nil {
				return err
			}
		}
		if !reflect.DeepEqual(a, b) {
			errs = append(errs, fmt.Errorf("%s is %s, not %s", name, got[name], text))
		}
	}
	return errors.Join(errs...)
}
