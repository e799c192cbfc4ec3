package snapshot

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/layer"
)

// singleEnv is set in a test binary that runs where one id is mapped.
const singleEnv = "SNAPSHOT_TEST_SINGLE"

// Files of other owners can be unpacked and changed, and keep them on record,
// though no file can be given them.
func TestOwnersAreKeptWhereOnlyOneIDIsMapped(t *testing.T) {
	needNamespace(t)
	if os.Getenv(singleEnv) == "" {
		inner := exec.Command("unshare", "--user", "--map-root-user", "--mount", "--",
			os.Args[0], "-test.run", "^"+t.Name()+"$")
		inner.Env = append(os.Environ(), singleEnv+"=1", sharedEnv+"="+t.TempDir())
		if out, err := inner.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	forEachDriver(t, func(t *testing.T, b *bench) {
		b.exact = false
		owned := func(e *layer.Entry) *layer.Entry {
			e.UID, e.GID = 33, 34
			return e
		}
		base := packed(t, "base", owned(dir("d", 0o750)), owned(file("d/f", "old")), owned(symlink("d/l", "f")))
		must(t, b.Unpack(context.Background(), []UnpackLayer{base, packed(t, "two", file("d/x", ""))}, nil))
		a := b.prepare(t, keyOf("two"))
		undo, err := a.MakeMountPoints([]MountPoint{{Path: "/d/mounted"}})
		must(t, err)
		b.run(t, a, func(root string) {
			must(t, os.WriteFile(filepath.Join(root, "d/f"), []byte("new"), 0o644))
			must(t, os.WriteFile(filepath.Join(root, "d/g"), nil, 0o644))
		})
		must(t, undo())
		must(t, a.Commit(keyOf("top")))

		want := map[string]uint32{"d": 33, "d/f": 33, "d/l": 33, "d/g": 0}
		tree, err := b.Tree(keyOf("top"))
		must(t, err)
		for path, uid := range want {
			n, err := tree.Lstat(path)
			must(t, err)
			if n.UID != uid {
				t.Errorf("/%s belongs to %d, not %d", path, n.UID, uid)
			}
		}
		src, err := b.Changes(keyOf("top"))
		must(t, err)
		must(t, src.Walk(context.Background(), func(e *layer.Entry) error {
			if uid, ok := want[e.Path]; ok && e.UID != uid {
				t.Errorf("%s in the layer belongs to %d, not %d", e.Path, e.UID, uid)
			}
			return nil
		}))
		src, err = b.Changes(keyOf("top"))
		names := layerOf(t, src, err)
		wantNames(t, "layer", names, "d", "d/f", "d/g")
		keptOwners(t, b, want)
		takenBack(t, b)
		unreadable(t, b)
	})
}

// keptOwners looks for owners in a container's tree above top.
func keptOwners(t *testing.T, b *bench, want map[string]uint32) {
	t.Helper()
	a := b.prepare(t, keyOf("top"))
	w := a.Writer()
	own := symlink("own", "f")
	own.UID = 35
	must(t, w.Write(own))
	must(t, w.Close())
	must(t, a.Keep(aContainer))
	must(t, a.Release())
	must(t, b.reopen(t).Release())
	tree, err := b.KeptTree(aContainer)
	must(t, err)
	want["own"] = 35
	for path, uid := range want {
		if n, err := tree.Lstat(path); err != nil || n.UID != uid {
			t.Errorf("/%s of the container: %+v, %v", path, n, err)
		}
	}
	src, err := b.KeptChanges(aContainer, ChangeOptions{})
	wantNames(t, "container", layerOf(t, src, err), "own")
	must(t, tree.Close())
}

// takenBack looks for the owner of a link that became root's again, the only one on
// record where the rest is in the trees below.
func takenBack(t *testing.T, b *bench) {
	t.Helper()
	a := b.reopen(t)
	w := a.Writer()
	must(t, w.Write(symlink("own", "f")))
	must(t, w.Close())
	_, err := a.View()
	must(t, err)
	must(t, a.Release())
	tree, err := b.KeptTree(aContainer)
	must(t, err)
	if n, err := tree.Lstat("own"); err != nil || n.UID != 0 {
		t.Errorf("a link that is root's again: %+v, %v", n, err)
	}
	must(t, tree.Close())
}

// unreadable damages a record that is too long to be in memory, for a moment: nobody is
// told a wrong owner without an error in the end. It is a tree's own, and one below.
func unreadable(t *testing.T, b *bench) {
	t.Helper()
	a := b.reopen(t)
	writeOwned(t, a)
	_, err := a.View()
	must(t, err)
	must(t, a.Release())
	a = b.reopen(t)
	damaged(t, b, a, a.id)

	below := b.prepare(t, keyOf("top"))
	writeOwned(t, below)
	must(t, below.Commit(keyOf("owned")))
	a = b.prepare(t, keyOf("owned"))
	damaged(t, b, a, below.id)
	must(t, a.Discard())
}

// writeOwned writes links with owners into a tree, too many for a record in memory.
func writeOwned(t *testing.T, a *Active) {
	t.Helper()
	w := a.Writer()
	for i := range 1500 {
		own := symlink(fmt.Sprintf("link-%04d-of-some-length", i), "f")
		own.UID = 35
		must(t, w.Write(own))
	}
	must(t, w.Close())
}

// damaged asks a for owners while the record of the tree id is damaged.
func damaged(t *testing.T, b *bench, a *Active, id string) {
	t.Helper()
	const link = "link-1499-of-some-length"
	if o, ok := a.RecordedOwner(link); !ok || o.UID != 35 {
		t.Fatalf("/%s belongs to %+v, %v", link, o, ok)
	}
	for _, none := range []string{"none", "none/at/all", strings.Repeat("n", 250) + " (deleted)"} {
		if o, ok := a.RecordedOwner(none); ok {
			t.Errorf("/%s, which isn't there, belongs to %+v", none, o)
		}
	}
	_, err := a.Changes(t.Context())
	must(t, err)
	record := filepath.Join(b.home, id+ownersFile)
	whole, err := os.ReadFile(record)
	must(t, err)
	must(t, os.Truncate(record, 1000))
	if o, ok := a.RecordedOwner("link-0000-of-some-length"); ok {
		t.Errorf("a record that can't be read tells of %+v", o)
	}
	must(t, os.WriteFile(record, whole, 0o600)) // whoever asked was told wrong all the same
	if _, err := a.Changes(t.Context()); err == nil || !strings.Contains(err.Error(), "owners of") || !strings.Contains(err.Error(), a.id) {
		t.Errorf("a layer whose owners couldn't be read: %v", err)
	}
}
