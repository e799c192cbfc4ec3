package snapshot

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// unprivilegedEnv is set in a test binary that runs as an ordinary user, without a
// capability, and names the directory for what he has packed.
const unprivilegedEnv = "SNAPSHOT_TEST_UNPRIVILEGED"

// Layers can be unpacked, and files written over them, by an ordinary user without a
// namespace: what he packs is what root of a full namespace packs.
func TestTreesOfAnUnprivilegedUserAreRoots(t *testing.T) {
	needNamespace(t)
	if out := os.Getenv(unprivilegedEnv); out != "" {
		for _, d := range []Driver{Stacked, VFS} {
			for key, data := range buildTrees(t, newBench(t, d)) {
				must(t, os.WriteFile(filepath.Join(out, string(d)+"-"+key), data, 0o600))
			}
		}
		return
	}
	out := asOrdinaryUser(t, unprivilegedEnv)
	for _, d := range []Driver{Overlay, VFS} {
		for key, want := range buildTrees(t, newBench(t, d)) {
			as := d
			if d == Overlay {
				as = Stacked
			}
			got, err := os.ReadFile(filepath.Join(out, string(as)+"-"+key))
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %s differs", as, key)
			}
		}
	}
}

// buildTrees makes an image's trees and those of instructions above it, and gives
// the tars of these.
func buildTrees(t *testing.T, b *bench) map[string][]byte {
	t.Helper()
	own := func(e *layer.Entry, mode int64, uid, gid uint32) *layer.Entry {
		e.Mode, e.UID, e.GID = mode, uid, gid
		return e
	}
	ping := file("bin/ping", "p")
	ping.Xattrs = map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	base := packed(t, "base",
		own(dir("bin", 0), 0o555, 0, 0), ping, own(file("bin/su", "s"), 0o4755, 0, 0),
		own(dir("etc", 0), 0o711, 0, 0), own(file("etc/passwd", "root"), 0o444, 0, 0), own(file("etc/shadow", "x"), 0, 0, 42),
		own(dir("srv", 0), 0, 33, 34), own(symlink("srv/link", "x"), 0o777, 33, 34), own(file("srv/x", "x"), 0o600, 33, 34))
	over := packed(t, "over", own(file("srv/y", "y"), 0o640, 33, 34), &layer.Entry{Path: "etc/shadow", Whiteout: true})
	must(t, b.Unpack(context.Background(), []UnpackLayer{base, over}, nil))
	first := b.commit(t, keyOf("over"), "first",
		own(file("etc/passwd", "root and me"), 0o444, 0, 0), own(file("srv/deep/z", "z"), 0, 1000, 1000), own(dir("bin", 0), 0o555, 0, 5))
	second := b.commit(t, first, "second", &layer.Entry{Path: "srv/x", Whiteout: true}, own(file("bin/su", "t"), 0o6755, 0, 0))
	packs := map[string][]byte{}
	for name, key := range map[string]Key{"first": first, "second": second} {
		src, err := b.Changes(key)
		must(t, err)
		packs[name] = tarOf(t, src)
		tree, err := b.Tree(key)
		must(t, err)
		packs[name+"-whole"] = tarOf(t, layer.Whole(tree))
		must(t, tree.Close())
	}
	// Another process finds the same.
	src, err := b.open(t, b.Driver()).Changes(second)
	must(t, err)
	if !bytes.Equal(tarOf(t, src), packs["second"]) {
		t.Errorf("%s: the layer is another for whoever opens the store again", b.Driver())
	}
	for _, id := range b.ids(t) {
		must(t, RemoveTree(b.place.Dir, b.Root(), id))
	}
	if left := b.ids(t); len(left) > 0 {
		t.Errorf("%s: trees can't be removed: %v", b.Driver(), left)
	}
	return packs
}

func (b *bench) ids(t *testing.T) []string {
	t.Helper()
	ids, err := IDs(b.place.Dir, b.Root())
	must(t, err)
	for _, id := range ids {
		must(t, Whole(b.place.Dir, b.Root(), id))
	}
	return ids
}

func tarOf(t *testing.T, src layer.Source) []byte {
	t.Helper()
	var blob bytes.Buffer
	_, err := layer.Pack(context.Background(), src, &blob, layer.PackOptions{Compression: layer.None, Time: layer.TimeRule{Mode: layer.TimeClamp, Epoch: epoch.Unix()}})
	must(t, err)
	return blob.Bytes()
}

// asOrdinaryUser runs the test again as one, and gives the directory that he may
// write to, which env names to him.
func asOrdinaryUser(t *testing.T, env string) string {
	t.Helper()
	const id = 1000
	dir, err := os.MkdirTemp("", "snapshot-test-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chown(dir, id, id))
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env+"="+dir, sharedEnv+"="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id, NoSetGroups: true}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func TestStackedTreesAreNotMounted(t *testing.T) {
	b := newBench(t, Stacked)
	a := b.prepare(t, b.commit(t, "", "base", file("f", "")))
	if _, err := a.Mount(context.Background()); !strings.Contains(fault.Remedy(err), "builder doctor") {
		t.Errorf("got %v, %s", err, fault.Remedy(err))
	}
}
