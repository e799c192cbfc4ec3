package emulate

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDescriptorsHavePaths(t *testing.T) {
	for path, want := range map[string]int{
		"/dev/stdin": 0, "/dev/stderr": 2, "/proc/self/fd/7": 7, "/dev/fd/3": 3, "/proc/thread-self/fd/4": 4,
		"/proc/self/fd/": -1, "/proc/self/fd/x": -1, "/dev/fd": -1, "/proc/1/fd/3": -1,
	} {
		if fd, ok := descriptorOf(path); ok != (want >= 0) || ok && fd != want {
			t.Errorf("%s: %d, %v", path, fd, ok)
		}
	}
}

// A path is the caller's, from its own directory, and never leads out of its root.
func TestPathsAreTheCallers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"d/e", "f"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"d/up": "../f", "d/abs": dir + "/f", "d/self": "/proc/self/fd/0"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(dir, "d"))
	c := &caller{req: &request{PID: uint32(os.Getpid())}}
	for path, want := range map[string]string{
		"e": "d/e", "./e/.": "d/e", "..": ".", "../f": "f", "up": "f", "abs": "f", dir + "/d/up": "f", "e/../../f": "f",
	} {
		f, err := c.lookUp(unix.AT_FDCWD, path, 0)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, want), &st); err != nil || inodeOf(&st) != inodeOf(&f.st) {
			t.Errorf("%s isn't %s", path, want)
		}
		f.close()
	}
	for path, want := range map[string]unix.Errno{"": unix.ENOENT, "none": unix.ENOENT, "self": unix.ELOOP, "e/none/..": unix.ENOENT} {
		if _, err := c.lookUp(unix.AT_FDCWD, path, 0); err != want {
			t.Errorf("%q: %v, not %v", path, err, want)
		}
	}
	if f, err := c.lookUp(unix.AT_FDCWD, "up", unix.AT_SYMLINK_NOFOLLOW); err != nil || f.mode() != unix.S_IFLNK {
		t.Errorf("the link itself: %v", err)
	}
}

func TestStatOf32Bits(t *testing.T) {
	st := &unix.Stat_t{Mode: unix.S_IFREG | 0o640, Nlink: 2, Uid: 101, Gid: 102, Size: 1 << 33, Ino: 1<<32 + 5}
	b := stat64(st)
	if len(b) != 96 {
		t.Fatalf("%d bytes", len(b))
	}
	le := binary.LittleEndian
	if le.Uint32(b[16:]) != st.Mode || le.Uint32(b[24:]) != 101 || le.Uint32(b[28:]) != 102 ||
		le.Uint64(b[44:]) != 1<<33 || le.Uint64(b[88:]) != st.Ino {
		t.Errorf("% x", b)
	}
}
