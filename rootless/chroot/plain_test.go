package chroot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
)

// tree makes a root directory with a link in it, beside something of the user's.
func tree(t *testing.T, link, target string) (root, mine string) {
	t.Helper()
	dir := t.TempDir()
	root, mine = filepath.Join(dir, "root"), filepath.Join(dir, "mine")
	for _, d := range []string{root, mine} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if target == "" {
		target = mine
	}
	if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
		t.Fatal(err)
	}
	return root, mine
}

func TestWhatTheSandboxFillsIsTheImagesOwnDirectory(t *testing.T) {
	for _, name := range []string{"proc", "sys", "dev"} {
		root, mine := tree(t, name, "")
		m := rspec.Mount{Destination: "/" + name, Type: "tmpfs", Source: "tmpfs"}
		if err := mountInto(root, m); err == nil {
			t.Errorf("a link at /%s was followed", name)
		}
		in := &invocation{id: "x", spec: &rspec.Spec{Root: &rspec.Root{Path: root}}}
		undo, err := in.preparePlain()
		if err == nil {
			t.Errorf("a link at /%s was followed without mounts", name)
		}
		if err := undo(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(mine); len(left) > 0 {
			t.Errorf("%s leads to what now has %v", name, left)
		}
		if got, err := os.Readlink(filepath.Join(root, name)); err != nil || got != mine {
			t.Errorf("%s is %q now, %v", name, got, err)
		}
	}
}

func TestNothingIsShownInPlaceOfTheRoot(t *testing.T) {
	root, _ := tree(t, "link", "/")
	s := &stage{root: root, aside: t.TempDir()}
	if err := s.directory("/link", 0o755, nil); err == nil {
		t.Error("the root directory was moved aside")
	}
	if _, err := os.Readlink(filepath.Join(root, "link")); err != nil {
		t.Error(err)
	}
}

func TestAMovedDirectoryComesBackOnlyItself(t *testing.T) {
	for name, do := range map[string]func(at string) error{
		"kept":    func(at string) error { return os.WriteFile(filepath.Join(at, "new"), nil, 0o600) },
		"removed": os.RemoveAll,
		"replaced": func(at string) error {
			return errors.Join(os.RemoveAll(at), os.Symlink("/etc", at))
		},
		"above": func(at string) error { return os.RemoveAll(filepath.Dir(at)) },
	} {
		dir := t.TempDir()
		root, source, aside := filepath.Join(dir, "root"), filepath.Join(dir, "cache"), filepath.Join(dir, "aside")
		at := filepath.Join(root, "home", "cache")
		for _, d := range []string{at, source, aside} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s := &stage{root: root, aside: aside}
		if err := s.move(rspec.Mount{Source: source, Destination: "/home/cache"}); err != nil {
			t.Fatal(err)
		}
		if err := do(at); err != nil {
			t.Fatal(err)
		}
		err := s.undo[0]()
		if _, there := os.Lstat(source); (err == nil) != (name == "kept") || (there == nil) != (name == "kept") {
			t.Errorf("%s: %v; the source: %v", name, err, there)
		}
		if err != nil && !strings.Contains(err.Error(), "removed or replaced /home/cache") {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := os.Lstat(at); name != "above" && (err != nil || !st.IsDir()) {
			t.Errorf("%s: what was there before isn't any more: %v", name, err)
		}
	}
}
