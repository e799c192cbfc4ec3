package owner

import (
	"os"
	"syscall"
	"testing"
)

func TestFilesBelongToIDs(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if uid, gid := IDs(); int(st.Uid) != uid || int(st.Gid) != gid {
		t.Errorf("a new file belongs to %d:%d, not %d:%d", st.Uid, st.Gid, uid, gid)
	}
}
