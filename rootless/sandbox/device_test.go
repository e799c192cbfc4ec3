package sandbox

import (
	"strings"
	"testing"
)

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
