package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

func TestOwnersOnRecordCountOnlyWhereFilesCantHaveThem(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := unix.Setxattr(file, owner.Emulated, owner.Value(12, 34), 0); err != nil {
		t.Skip(err) // a file system without attributes
	}
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	for recorded, want := range map[bool][2]int{true: {12, 34}, false: {os.Getuid(), os.Getgid()}} {
		var b bytes.Buffer
		must(t, Pack(t.Context(), &b, Source{Dir: d, Name: "file", As: "file", Recorded: recorded}))
		h, err := tar.NewReader(&b).Next()
		must(t, err)
		if got := [2]int{h.Uid, h.Gid}; got != want {
			t.Errorf("recorded %v: %v, want %v", recorded, got, want)
		}
	}
}
