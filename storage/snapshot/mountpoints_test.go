package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sandboxPoints are what a sandbox typically mounts over.
var sandboxPoints = []MountPoint{
	{Path: "/proc", Dir: true},
	{Path: "/etc/resolv.conf"},
	{Path: "/run/secrets/deep/key"},
	{Path: "/var/cache", Dir: true},
}

// modTime gives the time of a name in the tree of key.
func (b *bench) modTime(t *testing.T, key Key, path string) time.Time {
	t.Helper()
	tree, err := b.Tree(key)
	must(t, err)
	n, err := tree.Lstat(path)
	must(t, err)
	return n.ModTime
}

func TestUnusedMountPointsLeaveNoTrace(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o711), file("etc/passwd", ""), dir("run", 0o1777))
		a := b.prepare(t, base)
		before := upperOf(t, a)
		undo, err := a.MakeMountPoints(sandboxPoints)
		must(t, err)
		b.run(t, a, func(root string) {
			for _, p := range sandboxPoints {
				st, err := os.Lstat(filepath.Join(root, p.Path))
				must(t, err)
				if st.IsDir() != p.Dir {
					t.Errorf("%s: directory %v", p.Path, st.IsDir())
				}
			}
			st, err := os.Lstat(filepath.Join(root, "etc"))
			must(t, err)
			if st.Mode().Perm() != 0o711 || !st.ModTime().Equal(epoch) {
				t.Errorf("/etc has mode %v, time %v", st.Mode(), st.ModTime())
			}
		})
		must(t, undo())
		wantNames(t, "upper directory", upperOf(t, a), before...)
		src, err := a.Changes(context.Background())
		wantNames(t, "layer", layerOf(t, src, err))
		must(t, a.Commit(keyOf("top")))
		for _, path := range []string{"etc", "run"} {
			if got := b.modTime(t, keyOf("top"), path); !got.Equal(epoch) {
				t.Errorf("/%s has time %v", path, got)
			}
		}
	})
}

// upperOf lists the upper directory.
func upperOf(t *testing.T, a *Active) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(a.Upper(), func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

func TestMountPointsThatAreThereAreLeftAlone(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), file("etc/resolv.conf", "mine"), dir("proc", 0o555))
		a := b.prepare(t, base)
		undo, err := a.MakeMountPoints([]MountPoint{{Path: "/proc", Dir: true}, {Path: "/etc/resolv.conf"}})
		must(t, err)
		b.run(t, a, func(string) {})
		must(t, undo())
		must(t, a.Commit(keyOf("top")))
		if got := b.read(t, keyOf("top"), "etc/resolv.conf"); got != "mine" {
			t.Errorf("got %q", got)
		}
	})
}

func TestUsedMountPointsStay(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), dir("var", 0o755))
		a := b.prepare(t, base)
		undo, err := a.MakeMountPoints(sandboxPoints)
		must(t, err)
		changed := time.Unix(1_234_567_890, 0)
		b.run(t, a, func(root string) {
			must(t, os.WriteFile(filepath.Join(root, "etc/resolv.conf"), []byte("x"), 0o644))
			must(t, os.WriteFile(filepath.Join(root, "run/secrets/mine"), nil, 0o644))
			must(t, os.Chmod(filepath.Join(root, "proc"), 0o700))
			must(t, os.WriteFile(filepath.Join(root, "var/new"), nil, 0o644))
			must(t, os.Chtimes(filepath.Join(root, "var"), changed, changed))
		})
		must(t, undo())
		src, err := a.Changes(context.Background())
		wantNames(t, "layer", layerOf(t, src, err),
			"etc/resolv.conf", "proc", "run", "run/secrets", "run/secrets/mine", "var", "var/new")
		must(t, a.Commit(keyOf("top")))
		if got := b.modTime(t, keyOf("top"), "var"); !got.Equal(changed) {
			t.Errorf("/var has time %v, not the instruction's", got)
		}
	})
}

func TestMountPointsFollowLinksInsideTheTree(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), symlink("etc/resolv.conf", "../run/stub.conf"),
			symlink("out", "../../../../tmp"))
		a := b.prepare(t, base)
		undo, err := a.MakeMountPoints([]MountPoint{{Path: "/etc/resolv.conf"}, {Path: "/out/here"}})
		must(t, err)
		for _, path := range []string{"run/stub.conf", "tmp/here"} {
			if _, err := os.Lstat(filepath.Join(a.Upper(), path)); err != nil {
				t.Error(err)
			}
		}
		must(t, undo())
		src, err := a.Changes(context.Background())
		wantNames(t, "layer", layerOf(t, src, err))
	})
}

func TestUndoFollowsNoLinkThatTheInstructionMade(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		outside := t.TempDir()
		must(t, os.WriteFile(filepath.Join(outside, "resolv.conf"), nil, 0o755))
		a := b.prepare(t, "")
		undo, err := a.MakeMountPoints([]MountPoint{{Path: "/etc/resolv.conf"}})
		must(t, err)
		b.run(t, a, func(root string) {
			must(t, os.RemoveAll(filepath.Join(root, "etc")))
			must(t, os.Symlink(outside, filepath.Join(root, "etc")))
		})
		must(t, undo())
		if _, err := os.Lstat(filepath.Join(outside, "resolv.conf")); errors.Is(err, fs.ErrNotExist) {
			t.Error("a file outside the tree was removed")
		}
		src, err := a.Changes(context.Background())
		wantNames(t, "layer", layerOf(t, src, err), "etc")
	})
}
