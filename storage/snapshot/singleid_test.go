package snapshot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
