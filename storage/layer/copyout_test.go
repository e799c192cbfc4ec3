package layer

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCopyOutKeepsWhatFilesAre(t *testing.T) {
	top, low, dst := t.TempDir(), t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(low, "srv/data", name) }
	must(t, os.MkdirAll(at("sub"), 0o755))
	must(t, os.WriteFile(at("first"), []byte("content"), 0o640))
	must(t, os.Link(at("first"), at("sub/second")))
	must(t, os.WriteFile(at("suid"), []byte("x"), 0o755))
	must(t, os.Chown(at("suid"), 33, 34))
	must(t, os.Chmod(at("suid"), 0o755|os.ModeSetuid))
	must(t, unix.Setxattr(at("first"), "user.note", []byte("kept"), 0))
	must(t, os.Symlink("/etc/passwd", at("out")))
	must(t, os.Chown(filepath.Join(low, "srv/data"), 5, 6))
	must(t, os.Chmod(filepath.Join(low, "srv/data"), 0o770|os.ModeSticky))
	old := time.Unix(1_000_000_000, 0)
	for _, name := range []string{"first", "sub", "."} {
		must(t, os.Chtimes(at(name), old, old))
	}
	must(t, os.MkdirAll(filepath.Join(top, "srv/data"), 0o755))
	must(t, os.Chown(filepath.Join(top, "srv/data"), 5, 6))
	must(t, os.Chmod(filepath.Join(top, "srv/data"), 0o770|os.ModeSticky))
	must(t, os.WriteFile(filepath.Join(top, "srv/data/above"), nil, 0o600))
	must(t, os.Chtimes(filepath.Join(top, "srv/data"), old, old))

	tree := NewTree([]string{top, low})
	defer tree.Close()
	must(t, CopyOut(t.Context(), dst, tree, "/srv/data", true))

	var root, first, second, suid, sub unix.Stat_t
	for name, st := range map[string]*unix.Stat_t{".": &root, "first": &first, "sub/second": &second, "suid": &suid, "sub": &sub} {
		must(t, unix.Lstat(filepath.Join(dst, name), st))
	}
	if root.Uid != 5 || root.Gid != 6 || root.Mode&0o7777 != 0o1770 || root.Mtim.Nano() != old.UnixNano() {
		t.Errorf("the directory itself: %+v", root)
	}
	if first.Ino != second.Ino || first.Mode&0o7777 != 0o640 || first.Mtim.Nano() != old.UnixNano() || sub.Mtim.Nano() != old.UnixNano() {
		t.Errorf("files of two names, and times: %+v, %+v, %+v", first, second, sub)
	}
	if suid.Uid != 33 || suid.Gid != 34 || suid.Mode&0o7777 != 0o4755 {
		t.Errorf("owner and mode: %+v", suid)
	}
	value := make([]byte, 16)
	if n, err := unix.Getxattr(filepath.Join(dst, "first"), "user.note", value); err != nil || string(value[:n]) != "kept" {
		t.Errorf("attribute: %q, %v", value[:max(n, 0)], err)
	}
	if target, err := os.Readlink(filepath.Join(dst, "out")); err != nil || target != "/etc/passwd" {
		t.Errorf("a link leads to %q (%v)", target, err)
	}
	if _, err := os.Lstat(filepath.Join(dst, "above")); err != nil {
		t.Error(err)
	}
}
