package chroot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A volume is shared: whoever else has it swaps a directory for a link while it is
// walked.
func TestAPathThatIsSwappedMeanwhileLeadsNowhereElse(t *testing.T) {
	root, mine := tree(t, "link", "")
	swapped := filepath.Join(root, "dir")
	for _, dir := range []string{filepath.Join(swapped, "point"), filepath.Join(mine, "point")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var swapper sync.WaitGroup
	done := make(chan struct{})
	swapper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, swapped, unix.AT_FDCWD, filepath.Join(root, "link"), unix.RENAME_EXCHANGE)
			}
		}
	})
	defer swapper.Wait()
	defer close(done)
	opened := 0
	for range 2000 {
		for _, name := range []string{"point", "new"} {
			at, err := openPoint(root, "/dir/"+name, true)
			if err != nil {
				continue // it was swapped too often, or to what isn't there
			}
			opened++
			if got, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at.Fd())); err != nil || !strings.HasPrefix(got, root+"/") {
				t.Fatalf("opened %s, %v", got, err)
			}
			_ = at.Close()
		}
		_ = unix.Rmdir(filepath.Join(swapped, "new"))
	}
	if left, err := os.ReadDir(mine); err != nil || len(left) != 1 {
		t.Errorf("outside of the root there is %v, %v", left, err)
	}
	if opened == 0 {
		t.Error("nothing was opened ever")
	}
}

func TestMountPointsAreMadeWhereLinksLeadInsideTheRoot(t *testing.T) {
	root, mine := tree(t, "away", "")
	for name, target := range map[string]string{"resolv.conf": "../run/stub/resolv.conf", "absolute": "/there/file", "loop": "/loop"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openPoint(root, "/loop", false); err == nil {
		t.Error("a loop was followed")
	}
	for destination, want := range map[string]string{
		"/resolv.conf": "/run/stub/resolv.conf", "/absolute": "/there/file", "/a/b/c": "/a/b/c", "/away/file": mine + "/file",
	} {
		at, err := openPoint(root, destination, false)
		if err != nil {
			t.Errorf("%s: %v", destination, err)
			continue
		}
		if got, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at.Fd())); err != nil || got != root+want {
			t.Errorf("%s is %s, %v", destination, got, err)
		}
		_ = at.Close()
	}
	if left, _ := os.ReadDir(mine); len(left) > 0 {
		t.Errorf("outside of the root there is %v", left)
	}
}
