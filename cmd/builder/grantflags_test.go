package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/stage"
)

func TestGrantFlags(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for text, want := range map[string]stage.HostMount{
		dir + ":/in":       {Source: dir, Target: "/in"},
		".:/in/../x/:ro":   {Source: dir, Target: "/x", ReadOnly: true},
		dir + ":/in:ro,rw": {Source: dir, Target: "/in"},
	} {
		if got, err := parseVolume(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		dir: "parted by a colon", ":/in": "parted by a colon", dir + ":in": "no absolute path", dir + ":/": "below /",
		filepath.Join(dir, "gone") + ":/in": "no such file", dir + ":/in:exec": "neither ro nor rw", dir + ":/in:U": "not supported yet",
	} {
		if _, err := parseVolume(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	o, err := readBud(dir, "--cap-add", "sys_ptrace,NET_ADMIN", "--cap-drop=all", "-v", dir+":/a", "--volume="+dir+":/b:ro")
	if err != nil || !slices.Equal(o.CapAdd, []string{"sys_ptrace", "NET_ADMIN"}) || len(o.CapDrop) != 1 ||
		len(o.Volumes) != 2 || !o.Volumes[1].ReadOnly {
		t.Errorf("%+v, %v", o, err)
	}
}
