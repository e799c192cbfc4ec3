package log

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// onSmallDisk runs the calling test once more where its disk has so many bytes,
// and tells whether this is that run, with a directory on the disk.
func onSmallDisk(t *testing.T, size int) (dir string, is bool) {
	t.Helper()
	const variable = "LOG_TEST_DISK"
	if dir := os.Getenv(variable); dir != "" {
		if err := unix.Mount("disk", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
			t.Fatal(err)
		}
		return dir, true
	}
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), variable+"="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return "", false
}

func TestAFullDiskLosesLinesAndTheLogSaysSo(t *testing.T) {
	const disk = 64 << 10
	dir, is := onSmallDisk(t, disk)
	if !is {
		return
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, disk/2), 0o600); err != nil {
		t.Fatal(err)
	}
	w := open(t, dir, Options{})
	out := w.Stream(Stdout)
	written := 0
	for range 20 { // several at once: the last ones that fit are part of a write
		var b strings.Builder
		for range 100 {
			fmt.Fprintf(&b, "line %d\n", written)
			written++
		}
		write(t, out, b.String())
	}
	kept := read(t, dir, ReadOptions{Tail: All})
	if len(kept) == 0 || len(kept) >= written {
		t.Fatalf("of %d lines, %d are kept", written, len(kept))
	}
	// Room for a part of what comes is not enough to tell what is missing.
	if err := os.Truncate(ballast, disk/2-8<<10); err != nil {
		t.Fatal(err)
	}
	write(t, out, strings.Repeat("some more\n", 200))
	written += 200
	if got := read(t, dir, ReadOptions{Tail: All}); len(got) != len(kept) {
		t.Errorf("with little room, there are %q", texts(got[len(kept):]))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	write(t, out, "there is room\n")
	closeLog(t, w)

	entries := read(t, dir, ReadOptions{Tail: All})
	if len(entries) != len(kept)+2 {
		t.Fatalf("of %d kept lines, a notice and one line, %d are there", len(kept), len(entries))
	}
	for i, e := range entries[:len(kept)] {
		if want := fmt.Sprintf("line %d\n", i); e.Log != want {
			t.Errorf("line %d is %q", i, e.Log)
		}
	}
	notice := entries[len(kept)]
	want := fmt.Sprintf("builder: %d lines of output are missing here: no space left on device\n", written-len(kept))
	if notice.Log != want || notice.Stream != Stderr {
		t.Errorf("the notice is %+v, not %q", notice, want)
	}
	if last := entries[len(kept)+1]; last.Log != "there is room\n" {
		t.Errorf("after it comes %q", last.Log)
	}
	if n := strings.Count(content(t, dir, 0), "\n"); n != len(entries) {
		t.Errorf("%d entries stand in %d lines", len(entries), n)
	}
}

func TestRotationMakesRoomOnAFullDisk(t *testing.T) {
	dir, is := onSmallDisk(t, 64<<10)
	if !is {
		return
	}
	w := open(t, dir, Options{MaxSize: 20 << 10, MaxFile: 2})
	for i := range 5000 {
		write(t, w.Stream(Stdout), fmt.Sprintf("line %d\n", i))
	}
	closeLog(t, w)
	entries := read(t, dir, ReadOptions{Tail: All})
	if last := entries[len(entries)-1]; last.Log != "line 4999\n" {
		t.Errorf("the last line is %q", last.Log)
	}
}

// Each of a user's processes that waits for changes takes one of few that the
// kernel gives him.
func TestFollowWithoutAWatchOfTheKernels(t *testing.T) {
	dir, is := onSmallDisk(t, 1<<20)
	if !is {
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if w, err := watchDir(dir); err == nil {
		t.Fatalf("there is a watch: %v", w.WatchList())
	}
	w := open(t, dir, Options{})
	var ended atomic.Bool
	got := following(t, dir, ReadOptions{Tail: All, Ended: ended.Load})
	for i := range 3 {
		line := fmt.Sprintf("%d\n", i)
		write(t, w.Stream(Stdout), line)
		next(t, got, line)
	}
	ended.Store(true)
	for range got {
	}
}
