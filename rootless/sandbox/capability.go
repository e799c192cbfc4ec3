package sandbox

import (
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/chroot"
	"golang.org/x/sys/unix"
)

// defaultCaps is what docker leaves to a container.
var defaultCaps = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
	"CAP_SYS_CHROOT",
}

// everyCap stands for all of them.
const everyCap = "ALL"

// Capabilities gives the set that results from docker's --cap-add and
// --cap-drop, sorted. A name in both is dropped; with "ALL" dropped, only
// what is added by name is left.
func Capabilities(add, drop []string) ([]string, error) {
	add, err := canonicalCaps(add)
	if err != nil {
		return nil, err
	}
	if drop, err = canonicalCaps(drop); err != nil {
		return nil, err
	}
	var set []string
	switch {
	case slices.Contains(drop, everyCap):
		set = slices.DeleteFunc(add, func(c string) bool { return c == everyCap })
	case slices.Contains(add, everyCap):
		set = heldCaps()
	default:
		set = slices.Concat(defaultCaps, add)
	}
	set = slices.DeleteFunc(set, func(c string) bool { return slices.Contains(drop, c) })
	slices.Sort(set)
	return slices.Compact(set), nil
}

// heldCaps are those that can be given away: the ones in our own bounding set.
func heldCaps() []string {
	var held []string
	for number, name := range chroot.Capabilities {
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(number), 0, 0, 0); err == nil && has == 1 {
			held = append(held, name)
		}
	}
	return held
}

func canonicalCaps(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		c := strings.ToUpper(name)
		if c != everyCap && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if c != everyCap && !slices.Contains(chroot.Capabilities, c) {
			return nil, fault.New("man 7 capabilities    # lists them", "there is no capability named %q", name)
		}
		out = append(out, c)
	}
	return out, nil
}
