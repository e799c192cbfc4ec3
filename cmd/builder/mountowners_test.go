package main

import (
	"os"
	"strings"
	"testing"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
)

func TestOwnersAreToldWhereTheyMatter(t *testing.T) {
	dir := t.TempDir()
	uid := uint32(os.Getuid())
	mine, others := []userns.IDMap{{HostID: uid, Size: 1}}, []userns.IDMap{{HostID: uid + 1, Size: 10}}
	for _, tc := range []struct {
		mode     os.FileMode
		readOnly bool
		ids      []userns.IDMap
		told     string
	}{
		{0o700, false, mine, ""},
		{0o777, false, others, ""},
		{0o755, true, others, ""},
		{0o755, false, others, "write to"},
		{0o750, true, others, "read"},
		{0o700, false, others, "read"},
	} {
		if err := os.Chmod(dir, tc.mode); err != nil {
			t.Fatal(err)
		}
		got := strangersOwn(container.Mount{Type: "bind", Source: dir, ReadOnly: tc.readOnly}, tc.ids)
		if (got == "") != (tc.told == "") || !strings.Contains(got, tc.told) {
			t.Errorf("%o, read-only %t: %q", tc.mode, tc.readOnly, got)
		}
	}
}
