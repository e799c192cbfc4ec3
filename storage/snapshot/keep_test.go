package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const owner = "c0ffee"

// kept makes a kept tree above parent, with the file "own", and releases it.
func (b *bench) kept(t *testing.T, parent Key) {
	t.Helper()
	a := b.prepare(t, parent)
	must(t, a.Keep(owner))
	root, err := a.Mount(context.Background())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "own"), []byte("mine"), 0o644))
	must(t, os.Remove(filepath.Join(root, "etc/b")))
	must(t, a.Release())
}

func (b *bench) reopen(t *testing.T) *Active {
	t.Helper()
	a, err := b.Reopen(context.Background(), owner)
	must(t, err)
	t.Cleanup(func() { must(t, a.Release()) })
	return a
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestKeptTreeStaysWithWhatWasWritten(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), file("etc/a", "a"), file("etc/b", "b"))
		b.kept(t, base)
		if len(b.journal.pending) > 0 {
			t.Errorf("the session would remove %v", b.journal.pending)
		}
		parent, root, err := KeptParent(b.place.Dir, owner)
		if err != nil || parent != base || root != b.Root() {
			t.Errorf("stands on %s in %s: %v", parent, root, err)
		}
		a := b.reopen(t)
		mounted, err := a.Mount(context.Background())
		must(t, err)
		data, err := os.ReadFile(filepath.Join(mounted, "own"))
		if err != nil || string(data) != "mine" || exists(filepath.Join(mounted, "etc/b")) {
			t.Errorf("own %q, %v", data, err)
		}
		must(t, os.WriteFile(filepath.Join(mounted, "more"), []byte("more"), 0o644))
		must(t, a.Sync())

		// Another process, while it is mounted.
		other := b.open(t, b.Driver())
		src, err := other.KeptChanges(owner, ChangeOptions{})
		wantNames(t, "changes", layerOf(t, src, err), "etc", "-etc/b", "more", "own")
		tree, err := other.KeptTree(owner)
		must(t, err)
		data, err = tree.ReadFile("more", 10)
		if err != nil || string(data) != "more" {
			t.Errorf("more %q, %v", data, err)
		}
		must(t, tree.Close())
	})
}

func TestDiscardedKeptTreeIsGone(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), file("etc/b", "b"))
		b.kept(t, base)
		a := b.reopen(t)
		_, err := a.Mount(context.Background())
		must(t, err)
		must(t, a.Discard())
		if _, err := b.Reopen(context.Background(), owner); !errors.Is(err, ErrNotFound) {
			t.Errorf("reopened: %v", err)
		}
		ids, err := IDs(b.place.Dir, b.Root())
		if err != nil || len(ids) != 1 {
			t.Errorf("trees %v, %v", ids, err)
		}
	})
}
