package dockerfile

import (
	"runtime"
	"testing"
)

func TestPlatformsOfThisMachine(t *testing.T) {
	arch, other := runtime.GOARCH, "s390x"
	if arch == other {
		other = "ppc64le"
	}
	first := arch
	if v := firstVariant[arch]; v != "" {
		first += "/" + v
	}
	for platform, want := range map[string]bool{
		"linux": true, arch: true, "linux/" + arch: true, "Linux/" + arch: true, "linux/" + first: true,
		"linux/" + other: false, other: false, "windows/" + arch: false, "windows": false,
		"linux/" + arch + "/v77": false, "linux/" + arch + "/v1/x": false, "linux/": false,
	} {
		if got := isThisMachine(platform); got != want {
			t.Errorf("%s: %v", platform, got)
		}
	}
}
