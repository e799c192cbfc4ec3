package sandbox

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestDevicesAreReadAsDockerWritesThem(t *testing.T) {
	for text, want := range map[string]Device{
		"/dev/fuse":              {"/dev/fuse", "/dev/fuse"},
		"/dev/fuse:rwm":          {"/dev/fuse", "/dev/fuse"},
		"/dev/fuse:/dev/other":   {"/dev/fuse", "/dev/other"},
		"/dev/fuse:/dev/./it:rw": {"/dev/fuse", "/dev/it"},
	} {
		if got, err := ParseDevice(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fuse", "/dev/fuse:other", "/dev/fuse:/dev/other:", "/dev/fuse:/dev/other:x", "/dev/fuse:r", "/dev/fuse:/x:m"} {
		if got, err := ParseDevice(text); err == nil || fault.Remedy(err) == "" {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestDevicesAreThoseOfTheHost(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, `test -c /dev/extra && test -c /elsewhere && dd if=/dev/extra bs=4 count=1 2>/dev/null | wc -c`)
		s.Devices = []Device{{"/dev/zero", "/dev/extra"}, {"/dev/zero", "/elsewhere"}}
		if got := output(t, o, s); got != "4\n" {
			t.Errorf("%q", got)
		}
		for source, want := range map[string]string{"/dev/nowhere": "there is no device", "/etc/passwd": "is no device"} {
			s.Devices = []Device{{source, "/dev/x"}}
			if _, err := o.Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", source, err)
			}
		}
	})
}

func TestDevicesOutsideDevNeedMountPoints(t *testing.T) {
	points := MountPoints(Spec{Devices: []Device{{"/dev/zero", "/dev/extra"}, {"/dev/zero", "/elsewhere"}}, Init: "/bin/busybox"})
	want := []MountPoint{{"/proc", true}, {"/dev", true}, {"/sys", true}, {"/elsewhere", false}, {InitPath, false}}
	if len(points) != len(want) {
		t.Fatalf("%v, want %v", points, want)
	}
	for i := range want {
		if points[i] != want[i] {
			t.Errorf("%v, want %v", points[i], want[i])
		}
	}
}
