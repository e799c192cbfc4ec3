package layer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// stack is a stack of layers under one storage driver.
type stack struct {
	t      *testing.T
	flavor Flavor
	dir    string
	layers []string // upper directories, the top one first; for vfs full trees
	// unprivileged says that an ordinary user without a namespace writes, whose
	// records owners has for layers, and writing those of the layer being written.
	unprivileged bool
	owners       []*Owners
	writing      *Owners
	maxLate      int // as in DirOptions
}

func newStack(t *testing.T, flavor Flavor) *stack {
	t.Helper()
	// Not t.TempDir: the test's name in it could have a comma, at which
	// overlay's options are split.
	dir, err := os.MkdirTemp("", "layer-test-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &stack{t: t, flavor: flavor, dir: dir}
}

func (s *stack) options() DirOptions {
	return DirOptions{
		Flavor: s.flavor, ExactOwners: !s.unprivileged, Unprivileged: s.unprivileged, Owners: s.writing, maxLate: s.maxLate,
	}
}

func (s *stack) upperOptions() UpperOptions {
	return UpperOptions{Flavor: s.flavor, ExactOwners: !s.unprivileged, Unprivileged: s.unprivileged, Owners: s.writing}
}

func (s *stack) mkdir(name string) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	must(s.t, os.Mkdir(dir, 0o755))
	return dir
}

// tree is what stands now.
func (s *stack) tree() *Tree {
	layers := s.layers
	if s.flavor == VFS && len(layers) > 0 {
		layers = layers[:1]
	}
	if s.unprivileged {
		return NewRecordedTree(layers, s.owners)
	}
	return NewTree(layers)
}

// next makes the directory of a new layer.
func (s *stack) next() (dir string, base *Base) {
	s.t.Helper()
	dir = s.mkdir(fmt.Sprint("layer", len(s.layers)))
	s.writing = NewOwners(s.dir)
	if s.flavor == VFS && len(s.owners) > 0 {
		s.writing = reopened(s.t, s.owners[0])
	}
	must(s.t, InitRoot(dir, s.tree(), s.options()))
	if s.flavor == VFS && len(s.layers) > 0 {
		var err error
		base, err = CopyTree(context.Background(), dir, s.layers[0], dir+".base")
		must(s.t, err)
	} else if s.flavor == VFS {
		base = &Base{}
	}
	return dir, base
}

// run does a step as a RUN would, and gives what stands in the layer.
func (s *stack) run(step func(root string)) Source {
	s.t.Helper()
	parent := s.tree()
	dir, base := s.next()
	root := dir
	if s.flavor != VFS {
		root = s.mount(dir)
	}
	step(root)
	if s.flavor != VFS {
		must(s.t, unmount(root))
	}
	must(s.t, Settle(context.Background(), dir, parent, s.options()))
	s.push(dir)
	if s.flavor == VFS {
		return Compare(dir, base, parent, s.upperOptions())
	}
	return Upper(dir, parent, s.upperOptions())
}

// write does a step as a COPY would.
func (s *stack) write(step func(w *DirWriter)) Source {
	s.t.Helper()
	parent := s.tree()
	dir, base := s.next()
	w := NewDirWriter(dir, parent, s.options())
	step(w)
	must(s.t, w.Close())
	s.push(dir)
	if s.flavor == VFS {
		return Compare(dir, base, parent, s.upperOptions())
	}
	return Upper(dir, parent, s.upperOptions())
}

// unpack puts a tar on the stack.
func (s *stack) unpack(tar []byte) {
	s.t.Helper()
	lower := s.tree()
	dir, _ := s.next()
	p, err := Unpack(context.Background(), bytes.NewReader(tar), dir, s.options())
	must(s.t, err)
	must(s.t, FixImplied(context.Background(), dir, lower, p, s.options()))
	must(s.t, p.Close())
	s.push(dir)
}

// push puts a written layer on the stack.
func (s *stack) push(dir string) {
	s.layers = append([]string{dir}, s.layers...)
	s.owners = append([]*Owners{s.writing}, s.owners...)
}

func (s *stack) mount(upper string) string {
	s.t.Helper()
	merged, work := s.mkdir(filepath.Base(upper)+".merged"), s.mkdir(filepath.Base(upper)+".work")
	lowers := s.layers
	if len(lowers) == 0 {
		lowers = []string{s.mkdir("nothing")}
	}
	options := "lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if s.flavor == Overlay {
		must(s.t, unix.Mount("overlay", merged, "overlay", 0, "userxattr,"+options))
	} else {
		out, err := exec.Command("fuse-overlayfs", "-o", options, merged).CombinedOutput()
		if err != nil {
			s.t.Fatalf("fuse-overlayfs: %v\n%s", err, out)
		}
	}
	s.t.Cleanup(func() { _ = unix.Unmount(merged, unix.MNT_DETACH) })
	return merged
}

// unmount waits for the file system's end: FUSE's writes until then.
func unmount(dir string) error {
	return unix.Unmount(dir, 0)
}

// packed gives a layer's tar, uncompressed.
func packed(t *testing.T, src Source, rule TimeRule) []byte {
	t.Helper()
	var tar bytes.Buffer
	_, err := Pack(context.Background(), src, &tar, PackOptions{Compression: None, Time: rule})
	must(t, err)
	return tar.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
