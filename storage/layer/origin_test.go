package layer

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func every(copiedUp) (bool, error) { return true, nil }

func TestOriginsOfAllFilesAreStripped(t *testing.T) {
	dir := t.TempDir()
	must(t, exec.Command("/bin/sh", "-ec", `cd "$0"; for d in a a/b c; do mkdir -p $d; for i in $(seq 50); do : > $d/$i; setfattr -n user.fuseoverlayfs.origin -v x $d/$i; done; done; setfattr -n user.kept -v x a/1; ln -s / l`, dir).Run())
	before := openFDs(t)
	_, err := stripOrigins(context.Background(), dir, every)
	must(t, err)
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if _, e := unix.Lgetxattr(p, fuseOrigin, nil); e == nil {
			t.Errorf("%s still has its origin", p)
		}
		return err
	}))
	if _, err := unix.Lgetxattr(filepath.Join(dir, "a/1"), "user.kept", nil); err != nil {
		t.Errorf("another attribute is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := stripOrigins(ctx, dir, every); err == nil {
		t.Error("it goes on without its context")
	}
	if n := openFDs(t); n > before {
		t.Errorf("%d descriptors are left open", n-before)
	}
}

// TestOriginsBelowLongPathsAreStripped goes deeper than a path that the kernel
// takes.
func TestOriginsBelowLongPathsAreStripped(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, openDirFlags, 0)
	must(t, err)
	for range 20 {
		name := strings.Repeat("d", 250)
		must(t, unix.Mkdirat(fd, name, 0o755))
		sub, err := openDir(fd, name)
		must(t, err)
		closeFD(fd)
		fd = sub
	}
	defer closeFD(fd)
	file, err := openat(fd, "f", unix.O_CREAT|unix.O_WRONLY, 0o600)
	must(t, err)
	defer closeFD(file)
	must(t, unix.Fsetxattr(file, fuseOrigin, []byte("from\x00"), 0))
	copied, err := stripOrigins(context.Background(), dir, every)
	if err != nil {
		t.Fatalf("%.100s", err)
	}
	if len(copied) != 1 || copied[0].origin != "from" || len(copied[0].path) != 20*251+1 {
		t.Errorf("found %d copies", len(copied))
	}
	if _, err := unix.Fgetxattr(file, fuseOrigin, nil); err == nil {
		t.Error("the file still has its origin")
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}
