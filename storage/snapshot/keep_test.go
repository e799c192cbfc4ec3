package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

const aContainer = "c0ffee"

// kept makes a kept tree above parent, with the file "own", and releases it.
func (b *bench) kept(t *testing.T, parent Key) {
	t.Helper()
	a := b.prepare(t, parent)
	must(t, a.Keep(aContainer))
	root, err := a.Mount(context.Background())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "own"), []byte("mine"), 0o644))
	must(t, os.Remove(filepath.Join(root, "etc/b")))
	must(t, a.Release())
}

func (b *bench) reopen(t *testing.T) *Active {
	t.Helper()
	a, err := b.Reopen(context.Background(), aContainer)
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
		kept, err := ReadKept(b.place.Dir, aContainer)
		if err != nil || kept.Parent != base || kept.Root != b.Root() {
			t.Errorf("stands on %+v: %v", kept, err)
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
		src, err := other.KeptChanges(aContainer, ChangeOptions{})
		wantNames(t, "changes", layerOf(t, src, err), "etc", "-etc/b", "more", "own")
		tree, err := other.KeptTree(aContainer)
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
		if _, err := b.Reopen(context.Background(), aContainer); !errors.Is(err, ErrNotFound) {
			t.Errorf("reopened: %v", err)
		}
		ids, err := IDs(b.place.Dir, b.Root())
		if err != nil || len(ids) != 1 {
			t.Errorf("trees %v, %v", ids, err)
		}
	})
}

// reboot gives a store of the next boot, in which no committed tree counts.
func (b *bench) reboot(t *testing.T) *bench {
	t.Helper()
	next := &bench{Store: b.open(t, b.Driver()), place: b.place, journal: b.journal}
	next.boot = "the next"
	return next
}

func TestAfterARebootAKeptTreeIsLaidOnTheParentUnpackedAgain(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		ctx := context.Background()
		layers := []UnpackLayer{
			packed(t, "base", dir("etc", 0o755), file("etc/a", "a"), file("etc/b", "b")), packed(t, "top", file("etc/a", "top")),
		}
		must(t, b.Unpack(ctx, layers, nil))
		b.kept(t, keyOf("top"))

		next := b.reboot(t)
		var missing *MissingParentError
		if _, err := next.Reopen(ctx, aContainer); !errors.As(err, &missing) || missing.Parent != keyOf("top") || errors.Is(err, ErrNotFound) {
			t.Fatalf("reopened without what it stands on: %v", err)
		}
		if _, err := next.KeptChanges(aContainer, ChangeOptions{}); !errors.As(err, &missing) {
			t.Errorf("changes: %v", err)
		}
		must(t, next.Unpack(ctx, layers, nil))
		// What doesn't count any more goes, when the session ends that came across it.
		for _, id := range b.journal.pending {
			must(t, RemoveTree(b.place.Dir, b.Root(), id))
		}
		a := next.reopen(t)
		root, err := a.Mount(ctx)
		must(t, err)
		data, err := os.ReadFile(filepath.Join(root, "etc/a"))
		if err != nil || string(data) != "top" || exists(filepath.Join(root, "etc/b")) || !exists(filepath.Join(root, "own")) {
			t.Errorf("a %q, %v", data, err)
		}
		must(t, os.WriteFile(filepath.Join(root, "etc/a"), []byte("changed"), 0o644))
		must(t, a.Unmount(ctx))
		src, err := next.KeptChanges(aContainer, ChangeOptions{})
		wantNames(t, "changes", layerOf(t, src, err), "etc", "etc/a", "-etc/b", "own")
		k, err := ReadKept(b.place.Dir, aContainer)
		must(t, err)
		if k.Boot != "the next" {
			t.Errorf("it counts in %q", k.Boot)
		}
	})
}

// Who was killed while the tree was laid anew has left any of these.
func TestLayingAnewIsDoneAgain(t *testing.T) {
	for _, d := range []Driver{Fuse, Overlay} {
		for name, cut := range map[string]string{"before the list": "work", "after it": ""} {
			t.Run(string(d)+" "+name, func(t *testing.T) {
				b := newBench(t, d)
				layers := []UnpackLayer{packed(t, "base", dir("etc", 0o755), file("etc/b", "b"), file("c", "c"))}
				must(t, b.Unpack(context.Background(), layers, nil))
				b.kept(t, keyOf("base"))
				k, err := ReadKept(b.place.Dir, aContainer)
				must(t, err)
				next := b.reboot(t)
				_, _ = next.Reopen(context.Background(), aContainer) // drops the old parent
				must(t, next.Unpack(context.Background(), layers, nil))
				for _, id := range b.journal.pending {
					must(t, RemoveTree(b.place.Dir, b.Root(), id))
				}
				if cut != "" {
					must(t, os.RemoveAll(filepath.Join(b.home, k.ID, cut)))
				} else {
					id, err := next.locate(keyOf("base"))
					must(t, err)
					must(t, next.driver.relay(k.ID, id))
				}
				a := next.reopen(t)
				root, err := a.Mount(context.Background())
				must(t, err)
				if !exists(filepath.Join(root, "c")) || !exists(filepath.Join(root, "own")) || exists(filepath.Join(root, "etc/b")) {
					t.Error("not what was kept")
				}
			})
		}
	}
}

// In the boot in which it was made a kept tree needs no record of its parent.
func TestAKeptTreeStandsOnAParentThatWasForgotten(t *testing.T) {
	for _, d := range []Driver{Fuse, Overlay} {
		t.Run(string(d), func(t *testing.T) {
			b := newBench(t, d)
			base := b.commit(t, "", "base", dir("etc", 0o755), file("etc/b", "b"))
			b.kept(t, base)
			must(t, b.place.Records.Remove(base))
			src, err := b.open(t, d).KeptChanges(aContainer, ChangeOptions{})
			wantNames(t, "changes", layerOf(t, src, err), "etc", "-etc/b", "own")
		})
	}
}

// Whoever had it mounted was killed, and didn't take off what harms (see
// TestWrittenHardLinkReadsRightAbove).
func TestAReopenedTreeIsSettled(t *testing.T) {
	b := newBench(t, Fuse)
	link := &layer.Entry{Path: "h2", Type: layer.TypeLink, Linkname: "h1", ModTime: epoch}
	base := b.commit(t, "", "base", file("h1", "old"), link)
	a := b.prepare(t, base)
	must(t, a.Keep(aContainer))
	root, err := a.Mount(context.Background())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "h1"), []byte("new and longer"), 0o644))
	must(t, errors.Join(b.driver.unmount(a.id), b.driver.wait(a.id)))
	a.mounted, a.finished = false, true

	_ = b.reopen(t)
	tree, err := b.KeptTree(aContainer)
	must(t, err)
	// h2 was shown with it, and is a link to it.
	for _, name := range []string{"h1", "h2"} {
		if data, err := tree.ReadFile(name, 100); err != nil || string(data) != "new and longer" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	must(t, tree.Close())
}

func TestATreeIsKeptOnceAndBeforeItIsMounted(t *testing.T) {
	b := newBench(t, VFS)
	a := b.prepare(t, "")
	for _, name := range []string{"", ".hidden", "up/.."} {
		if a.Keep(name) == nil {
			t.Errorf("kept for %q", name)
		}
	}
	must(t, a.Keep(aContainer))
	if a.Commit(keyOf("x")) == nil {
		t.Error("a kept tree was committed")
	}
	if err := b.prepare(t, "").Keep(aContainer); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	mounted := b.prepare(t, "")
	_, err := mounted.Mount(context.Background())
	must(t, err)
	if mounted.Keep("other") == nil {
		t.Error("kept, though what it syncs doesn't count")
	}
}

func TestATreeOfAnotherDriverIsRefusedAndRemoved(t *testing.T) {
	b := newBench(t, VFS)
	a := b.prepare(t, "")
	must(t, a.Keep(aContainer))
	must(t, a.Release())
	other := b.open(t, Fuse)
	if _, err := other.Reopen(context.Background(), aContainer); fault.Remedy(err) != "use the one that it was made with: --storage-driver vfs" {
		t.Errorf("got %v, remedy %q", err, fault.Remedy(err))
	}
	must(t, other.RemoveKept(aContainer))
	if exists(a.Upper()) || exists(filepath.Join(KeptDir(b.place.Dir), aContainer)) {
		t.Error("still there")
	}
	must(t, other.RemoveKept(aContainer))
}

// Before Linux 6.16 syncfs alone says little.
func TestFlushingEachFileLeavesNothingInTheKernel(t *testing.T) {
	b := newBench(t, Fuse)
	a := b.prepare(t, "")
	must(t, a.Keep(aContainer))
	root, err := a.Mount(context.Background())
	must(t, err)
	must(t, os.Mkdir(filepath.Join(root, "d"), 0o755))
	f, err := os.Create(filepath.Join(root, "d/f"))
	must(t, err)
	_, err = f.WriteString("written, and open still")
	must(t, err)
	must(t, os.Symlink("/dev/null", filepath.Join(root, "link")))
	must(t, flushEach(a.Upper(), root))
	data, err := os.ReadFile(filepath.Join(a.Upper(), "d/f"))
	if err != nil || string(data) != "written, and open still" {
		t.Errorf("got %q, %v", data, err)
	}
	must(t, f.Close())
}
