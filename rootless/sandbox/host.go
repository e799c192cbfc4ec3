package sandbox

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// host is what the sandboxes of this process must know of its user namespace
// and kernel. It doesn't change while the process lives.
type host struct {
	groups            bool // additional groups may be set
	ttyGroup          bool // group 5, the owner of terminals, is mapped
	recursiveReadOnly bool // a bind mount can be made read-only with all below it
}

func probeHost() host {
	setgroups, err := os.ReadFile("/proc/self/setgroups")
	return host{
		groups:            err != nil || strings.TrimSpace(string(setgroups)) == "allow",
		ttyGroup:          gidMapped(5),
		recursiveReadOnly: unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}) != unix.ENOSYS,
	}
}

// gidMapped tells whether the user namespace knows the group.
func gidMapped(gid uint64) bool {
	data, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		var first, outside, length uint64
		if _, err := fmt.Sscan(line, &first, &outside, &length); err == nil && gid >= first && gid < first+length {
			return true
		}
	}
	return false
}
