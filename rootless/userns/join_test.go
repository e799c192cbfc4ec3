package userns

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// ownerOf gives a file's.
func ownerOf(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}

func TestCallerKeepsHisIDs(t *testing.T) {
	needsUser(t)
	mapping, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if mapping.Kind == KindSingle {
		t.Skip("needs subordinate ids")
	}
	kept, err := detect(Options{KeepID: true})
	if err != nil {
		t.Fatal(err)
	}
	if kept.Kind == KindRange && kept.Key() == mapping.Key() {
		t.Error("the mapping has the key of another")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out, code := play(t, "enter-keep-id", "files", dir)
	if want := fmt.Sprintf("caller %d %d <nil>\nown <nil>\nprogram CapEff:\t", kept.UID, kept.GID); code != 0 || !strings.Contains(out, want) ||
		strings.Contains(out, "CapEff:\t0000000000000000") || !strings.Contains(out, "chown <nil> <nil>") {
		t.Errorf("%d, %s", code, out)
	}
	if uid, gid := ownerOf(t, dir+"/own"); int(uid) != os.Getuid() || int(gid) != os.Getgid() {
		t.Errorf("what it makes belongs to %d:%d", uid, gid)
	}
	root := hostID(kept.UIDs, 0)
	if uid, _ := ownerOf(t, dir+"/program"); uid != root {
		t.Errorf("what root inside makes belongs to %d, not %d", uid, root)
	}
	checkState(t, []string{"enter-keep-id", "state"}, "ids 0 0 0 0", "pid 1 true true true", "effective true", "inheritable true")
}

func TestUserNamespaceIsShared(t *testing.T) {
	for _, enter := range []string{"enter", "enter-keep-id", "enter-single"} {
		t.Run(enter, func(t *testing.T) {
			word := token(t)
			owner := start(t, enter, "sleep", word)
			owner.expect("asleep")
			pids := named(word, "scene")
			if len(pids) != 1 {
				t.Fatalf("the processes are %v", pids)
			}
			pid := strconv.Itoa(pids[0])
			dir := t.TempDir()
			out, code := play(t, "enter-joined", pid, "files", dir)
			namespace, err := os.Readlink("/proc/" + pid + "/ns/user")
			if err != nil || code != 0 || !strings.Contains(out, "namespace "+namespace+" <nil>\n") {
				t.Errorf("not in %s (%v): %d, %s", namespace, err, code, out)
			}
			if uid, gid := ownerOf(t, dir+"/own"); int(uid) != os.Getuid() || int(gid) != os.Getgid() {
				t.Errorf("what it makes belongs to %d:%d", uid, gid)
			}
			checkState(t, []string{"enter-joined", pid, "state"}, "ids 0 0 0 0", "pid 1 true true true", "extra given",
				"death signal 9 <nil>", "inheritable true", "effective true", "private mounts true <nil>", "descriptors 0 1 2 <nil>")
			owner.signal(syscall.SIGKILL)
			owner.wantExit(128 + 9)
		})
	}
}

func TestSharedNamespacesProcessesEndWithTheirOwnOuterProcess(t *testing.T) {
	word, other := token(t), token(t)
	owner := start(t, "enter", "sleep", word)
	owner.expect("asleep")
	second := start(t, "enter-joined", strconv.Itoa(named(word, "scene")[0]), "sleep", other)
	second.expect("asleep")
	owner.signal(syscall.SIGKILL)
	owner.wantExit(128 + 9)
	eventually(t, "the owner's process is gone", func() bool { return len(named(word)) == 0 })
	if len(named(other, "scene")) != 1 {
		t.Error("it has ended with the one whose namespace it shares")
	}
	second.signal(syscall.SIGKILL)
	second.wantExit(128 + 9)
	eventually(t, "the second process is gone", func() bool { return len(named(other)) == 0 })
}

func TestEndedProcessCannotBeJoined(t *testing.T) {
	out, code := play(t, "enter-joined", "999999999", "state")
	if code == 0 || !strings.Contains(out, "has ended") {
		t.Errorf("%d, %s", code, out)
	}
	if out, code = play(t, "enter-joined", "1", "state"); os.Getuid() != 0 && (code == 0 || !strings.Contains(out, "entering the user namespace of process 1: ")) {
		t.Errorf("%d, %s", code, out)
	}
}

func TestSharingNeedsNsenter(t *testing.T) {
	word := token(t)
	owner := start(t, "enter", "sleep", word)
	owner.expect("asleep")
	t.Setenv("PATH", t.TempDir())
	out, code := play(t, "enter-joined", strconv.Itoa(named(word, "scene")[0]), "state")
	if code == 0 || !strings.Contains(out, "nsenter, and that isn't installed") {
		t.Errorf("%d, %s", code, out)
	}
	owner.signal(syscall.SIGKILL)
	owner.wantExit(128 + 9)
}
