package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/layer"
)

func TestInstructionChangesBecomeALayerAndATree(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), file("etc/a", "a"), file("etc/b", "b"))
		a := b.prepare(t, base)
		b.run(t, a, func(root string) {
			must(t, os.WriteFile(filepath.Join(root, "etc/a"), []byte("changed"), 0o644))
			must(t, os.Remove(filepath.Join(root, "etc/b")))
			must(t, os.WriteFile(filepath.Join(root, "new"), nil, 0o600))
		})
		src, err := a.Changes(context.Background())
		want := []string{"etc", "etc/a", "-etc/b", "new"}
		wantNames(t, "layer", layerOf(t, src, err), want...)
		must(t, a.Commit(keyOf("top")))

		src, err = b.Changes(keyOf("top"))
		wantNames(t, "committed layer", layerOf(t, src, err), want...)
		if got := b.read(t, keyOf("top"), "etc/a"); got != "changed" {
			t.Errorf("tree has %q", got)
		}
		if got := b.read(t, base, "etc/a"); got != "a" {
			t.Errorf("parent has %q", got)
		}
		if len(b.journal.pending) > 0 {
			t.Errorf("unsettled: %v", b.journal.pending)
		}
	})
}

func TestInstructionThatChangesNothingMakesNoLayer(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		base := b.commit(t, "", "base", dir("etc", 0o755), file("etc/a", "a"))
		a := b.prepare(t, base)
		b.run(t, a, func(root string) {
			_, err := os.ReadFile(filepath.Join(root, "etc/a"))
			must(t, err)
		})
		src, err := a.Changes(context.Background())
		wantNames(t, "layer", layerOf(t, src, err))
	})
}

func TestRootDirectoryIsTheParents(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		a := b.prepare(t, "")
		must(t, os.Chown(a.Upper(), 5, 6))
		must(t, unix.Chmod(a.Upper(), 0o1711))
		must(t, unix.Setxattr(a.Upper(), "user.x", []byte("y"), 0))
		must(t, os.Chtimes(a.Upper(), epoch, epoch))
		must(t, a.Commit(keyOf("base")))

		child := b.prepare(t, keyOf("base"))
		st, err := os.Lstat(child.Upper())
		must(t, err)
		sys := st.Sys().(*syscall.Stat_t)
		if sys.Mode&0o7777 != 0o1711 || sys.Uid != 5 || sys.Gid != 6 || !st.ModTime().Equal(epoch) {
			t.Errorf("mode %o, owner %d:%d, time %v", sys.Mode, sys.Uid, sys.Gid, st.ModTime())
		}
		value := make([]byte, 8)
		n, err := unix.Getxattr(child.Upper(), "user.x", value)
		if err != nil || string(value[:n]) != "y" {
			t.Errorf("attribute %q, %v", value[:max(n, 0)], err)
		}
		path, err := child.Mount(context.Background())
		must(t, err)
		st, err = os.Lstat(path)
		must(t, err)
		if sys := st.Sys().(*syscall.Stat_t); sys.Mode&0o7777 != 0o1711 || sys.Uid != 5 || sys.Gid != 6 {
			t.Errorf("mounted: mode %o, owner %d:%d", sys.Mode, sys.Uid, sys.Gid)
		}
		must(t, child.Unmount(context.Background()))
		src, err := child.Changes(context.Background())
		wantNames(t, "layer", layerOf(t, src, err))
	})
}

func TestScratchRootIsOpenToAll(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		st, err := os.Lstat(b.prepare(t, "").Upper())
		must(t, err)
		if st.Mode().Perm() != 0o755 {
			t.Errorf("mode %v", st.Mode())
		}
	})
}

// fuse-overlayfs shows a write under all names of a file, and so must the layer
// above; the kernel's overlay parts the names. Version 1.10 would show the
// written name with the other's content, if its mark weren't taken off.
func TestWrittenHardLinkReadsRightAbove(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		link := &layer.Entry{Path: "h2", Type: layer.TypeLink, Linkname: "h1", ModTime: epoch}
		base := b.commit(t, "", "base", file("h1", "old"), link)
		a := b.prepare(t, base)
		b.run(t, a, func(root string) {
			must(t, os.WriteFile(filepath.Join(root, "h1"), []byte("new and longer"), 0o644))
		})
		must(t, a.Commit(keyOf("top")))
		above := b.prepare(t, keyOf("top"))
		b.run(t, above, func(root string) {
			h1, err := os.ReadFile(filepath.Join(root, "h1"))
			must(t, err)
			h2, err := os.ReadFile(filepath.Join(root, "h2"))
			must(t, err)
			want := "old"
			if b.Driver() == Fuse {
				want = "new and longer"
			}
			if string(h1) != "new and longer" || string(h2) != want {
				t.Errorf("h1 %q, h2 %q", h1, h2)
			}
		})
	})
}

func TestSecondCommitOfAKeyYieldsToTheFirst(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		first, second := b.prepare(t, ""), b.prepare(t, "")
		for i, a := range []*Active{first, second} {
			w := a.Writer()
			must(t, w.Write(file("who", fmt.Sprint(i))))
			must(t, w.Close())
		}
		lost := second.Upper()
		must(t, first.Commit(keyOf("k")))
		must(t, second.Commit(keyOf("k")))
		if got := b.read(t, keyOf("k"), "who"); got != "0" {
			t.Errorf("tree is the one of worker %s", got)
		}
		if _, err := os.Lstat(lost); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the second tree is still there: %v", err)
		}
		if len(b.journal.pending) > 0 {
			t.Errorf("unsettled: %v", b.journal.pending)
		}
	})
}

func TestDiscardLeavesNothing(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		before := b.files(t)
		a, _, err := b.View(context.Background(), "")
		must(t, err)
		must(t, a.Discard())
		must(t, a.Discard())
		wantNames(t, "files", b.files(t), before...)
		if len(b.journal.pending) > 0 {
			t.Errorf("unsettled: %v", b.journal.pending)
		}
	})
}

// files lists the driver root.
func (b *bench) files(t *testing.T) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(b.home, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

func TestTreeOfAnotherBootIsAbsent(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		lost := b.commit(t, "", "lost", file("f", ""))
		kept := b.commit(t, "", "kept", file("f", ""))
		must(t, b.records.update(lost, func(rec *Record) error {
			ref := rec.Trees[b.Root()]
			ref.Boot = "another"
			rec.Trees[b.Root()] = ref
			return nil
		}))
		if b.HasTree(lost) || !b.HasTree(kept) {
			t.Fatalf("of another boot: %v, of this one: %v", b.HasTree(lost), b.HasTree(kept))
		}
		rec, err := b.records.Get(lost)
		must(t, err)
		if len(rec.Trees) != 0 || len(b.journal.pending) != 1 {
			t.Errorf("record names %v, to be removed: %v", rec.Trees, b.journal.pending)
		}
		b.commit(t, "", "lost", file("f", "again"))
		if got := b.read(t, lost, "f"); got != "again" {
			t.Errorf("got %q", got)
		}
	})
}

func TestLinkedChainIsTheStepsTree(t *testing.T) {
	b := newBench(t, Overlay)
	step := b.commit(t, "", "step", file("f", "content"))
	chain := keyOf("chain")
	must(t, b.records.LinkChain(chain, step))
	if got := b.read(t, chain, "f"); got != "content" {
		t.Errorf("got %q", got)
	}
	src, err := b.Changes(chain)
	wantNames(t, "layer", layerOf(t, src, err), "f")
	child := b.commit(t, chain, "child")
	if got := b.read(t, child, "f"); got != "content" {
		t.Errorf("above the chain: got %q", got)
	}
}

func TestMissingTreeIsNotFound(t *testing.T) {
	b := newBench(t, Overlay)
	if _, err := b.Prepare(context.Background(), keyOf("nowhere")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Prepare: %v", err)
	}
	if _, err := b.Tree(keyOf("nowhere")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Tree: %v", err)
	}
	key := b.commit(t, "", "k")
	must(t, os.RemoveAll(TreePath(b.place.Dir, b.Root(), b.id(t, key))))
	if b.open(t, Overlay).HasTree(key) {
		t.Error("the tree's directory is gone")
	}
}

func (b *bench) id(t *testing.T, key Key) string {
	t.Helper()
	id, err := b.locate(key)
	must(t, err)
	return id
}

func TestDeepChains(t *testing.T) {
	for _, d := range []Driver{Fuse, Overlay} {
		t.Run(string(d), func(t *testing.T) {
			b := newBench(t, d)
			key := Key("")
			for i := range maxDepth {
				key = b.commit(t, key, fmt.Sprint(i), file(fmt.Sprintf("f%d", i), ""))
				if i != 129 && i != maxDepth-2 {
					continue
				}
				a := b.prepare(t, key)
				b.run(t, a, func(root string) {
					names, err := os.ReadDir(root)
					must(t, err)
					if len(names) != i+1 {
						t.Errorf("%d layers show %d files", i+1, len(names))
					}
				})
			}
			_, err := b.Prepare(context.Background(), key)
			if fault.Remedy(err) == "" || !strings.Contains(err.Error(), "500") {
				t.Errorf("one layer too many: %v", err)
			}
		})
	}
}

func TestPathThatMountsCannotTakeIsRefused(t *testing.T) {
	needNamespace(t)
	p := Place{Dir: filepath.Join(t.TempDir(), "a,b"), Features: t.TempDir()}
	_, err := Open(context.Background(), p, Options{Driver: Overlay, MappingKey: "test"})
	if fault.Remedy(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestUnmountedTreeHasWhatWasWritten(t *testing.T) {
	b := newBench(t, Fuse)
	a := b.prepare(t, "")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	b.run(t, a, func(root string) {
		f, err := os.OpenFile(filepath.Join(root, "big"), os.O_CREATE|os.O_RDWR, 0o644)
		must(t, err)
		_, err = f.WriteString(big)
		must(t, err)
		must(t, f.Close())
		must(t, os.Chtimes(filepath.Join(root, "big"), time.Time{}, epoch))
	})
	got, err := os.ReadFile(filepath.Join(a.Upper(), "big"))
	must(t, err)
	st, err := os.Lstat(filepath.Join(a.Upper(), "big"))
	must(t, err)
	if string(got) != big || !st.ModTime().Equal(epoch) {
		t.Errorf("%d bytes of %d, time %v", len(got), len(big), st.ModTime())
	}
}

func TestTreeWhoseFuseDaemonDiedCanBeDiscarded(t *testing.T) {
	b := newBench(t, Fuse)
	a := b.prepare(t, "")
	root, err := a.Mount(context.Background())
	must(t, err)
	must(t, killServer(root))
	if err := a.Unmount(context.Background()); err == nil {
		t.Error("nobody knows whether all was written, but unmounting says nothing")
	}
	_ = a.Discard()
	if _, err := os.Lstat(a.Upper()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree is still there: %v", err)
	}
}

// killServer kills the fuse-overlayfs that serves root, and waits until the
// kernel knows.
func killServer(root string) error {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, proc := range procs {
		args, err := os.ReadFile(proc)
		if err != nil || !strings.HasSuffix(strings.TrimRight(string(args), "\x00"), root) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(proc, "/proc/%d/cmdline", &pid); err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if _, err := os.ReadDir(root); errors.Is(err, syscall.ENOTCONN) {
				return nil
			}
		}
		return errors.New("the mount is still served")
	}
	return fmt.Errorf("nobody serves %s", root)
}

func TestTreeGoesWithItsLinkWhateverItsNameIs(t *testing.T) {
	for what, name := range map[string]string{
		"empty": "", "torn": "ABC", "of zeros": strings.Repeat("\x00", 26), "a path": "../../../outside/and/more/",
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, Overlay)
			kept, key := b.commit(t, "", "kept"), b.commit(t, "", "torn")
			id := b.id(t, key)
			must(t, os.WriteFile(filepath.Join(b.home, id, "link"), []byte(name), 0o600))
			must(t, RemoveTree(b.place.Dir, b.Root(), id))
			links, err := os.ReadDir(filepath.Join(b.home, linksDir))
			must(t, err)
			if len(links) != 1 || !b.HasTree(kept) {
				t.Errorf("%d links, not the other tree's alone", len(links))
			}
			if _, err := os.Lstat(filepath.Join(b.home, id)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the tree: %v", err)
			}
		})
	}
}

func TestTreeGoesWithWhatWasMovedOutOfItsWay(t *testing.T) {
	b := newBench(t, VFS)
	id := b.id(t, b.commit(t, "", "torn"))
	aside := filepath.Join(b.home, vfsDir, id+removal.AsideSuffix)
	must(t, os.MkdirAll(filepath.Join(aside, "0", "hidden"), 0o700))
	must(t, RemoveTree(b.place.Dir, b.Root(), id))
	if _, err := os.Lstat(aside); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFinishedTreesHoldNoDescriptors(t *testing.T) {
	ctx := context.Background()
	b := newBench(t, Overlay)
	key := Key("")
	for i := range 10 {
		key = b.commit(t, key, fmt.Sprint(i), dir("d", 0o755), file("d/f", fmt.Sprint(i)))
	}
	above := b.commit(t, key, "above", file("d/g", ""))
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(fds)
	}
	for what, use := range map[string]func(a *Active) error{
		"discarded":               func(a *Active) error { return a.Discard() },
		"committed":               func(a *Active) error { return a.Commit(keyOf("new")) },
		"committed a second time": func(a *Active) error { return a.Commit(above) },
	} {
		before := open()
		a, err := b.Prepare(ctx, key)
		must(t, err)
		if _, err := a.Parent().Lstat("d/f"); err != nil {
			t.Error(err)
		}
		must(t, use(a))
		if n := open() - before; n > 0 {
			t.Errorf("%s: %d descriptors are still open", what, n)
		}
	}

	walk := func() {
		src, err := b.Changes(above)
		wantNames(t, "layer", layerOf(t, src, err), "d/g")
	}
	before := open()
	for range runtime.GOMAXPROCS(0) {
		walk()
	}
	most := open()
	for range 10 {
		walk()
	}
	if open() > most {
		t.Errorf("%d descriptors are open after a few walks, and %d after more", most, open())
	}
	must(t, b.Close())
	if n := open() - before; n > 0 {
		t.Errorf("%d descriptors are open after Close", n)
	}
}
