package sandbox

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
)

// host is what the sandboxes of this process must know of its user namespace
// and kernel. It doesn't change while the process lives.
type host struct {
	uids, gids        idRanges // what the user namespace knows
	groups            bool     // additional groups may be set
	recursiveReadOnly bool     // a bind mount can be made read-only with all below it
}

func probeHost() host {
	setgroups, err := os.ReadFile("/proc/self/setgroups")
	return host{
		uids:              readRanges("/proc/self/uid_map"),
		gids:              readRanges("/proc/self/gid_map"),
		groups:            err != nil || strings.TrimSpace(string(setgroups)) == "allow",
		recursiveReadOnly: unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}) != unix.ENOSYS,
	}
}

// ttyGroup owns terminals.
const ttyGroup = 5

// idRange is the ids from first on, without end.
type idRange struct{ first, end uint64 }

type idRanges []idRange

// readRanges reads an id map of /proc; one that can't be read is empty.
func readRanges(path string) (ranges idRanges) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		var first, outside, length uint64
		if _, err := fmt.Sscan(line, &first, &outside, &length); err == nil {
			ranges = append(ranges, idRange{first, first + length})
		}
	}
	return ranges
}

func (r idRanges) has(id uint64) bool {
	for _, one := range r {
		if id >= one.first && id < one.end {
			return true
		}
	}
	return false
}

// highest gives the highest id.
func (r idRanges) highest() uint64 {
	var end uint64 = 1
	for _, one := range r {
		end = max(end, one.end)
	}
	return end - 1
}

// checkIDs refuses a user or group that the namespace doesn't know: no process
// can become that.
func (h host) checkIDs(s Spec) error {
	if h.emulates(s) {
		return nil
	}
	if !h.uids.has(uint64(s.UID)) {
		return unmapped("user", s.UID, h.uids)
	}
	groups := []uint32{s.GID}
	if h.groups {
		groups = append(groups, s.Groups...)
	}
	for _, gid := range groups {
		if !h.gids.has(uint64(gid)) {
			return unmapped("group", gid, h.gids)
		}
	}
	return nil
}

// single tells whether root is the only user or group that there is.
func (h host) single() bool { return h.uids.highest() == 0 || h.gids.highest() == 0 }

// emulates tells whether the program is to believe in ids that aren't there.
func (h host) emulates(s Spec) bool { return s.EmulateIDs && h.single() }

func unmapped(kind string, id uint32, mapped idRanges) error {
	remedy := fmt.Sprintf("choose a %s up to %d", kind, mapped.highest())
	if mapped.highest() == 0 {
		remedy = "stay root, who is the only " + kind
	}
	// Images use ids up to 65535; who needs more has to choose.
	if m, err := userns.Current(); err == nil && m.Notice != nil && m.Notice.Remedy != "" && id < 1<<16 {
		remedy = m.Notice.Remedy + "\nor " + remedy
		if m.Kind == userns.KindSingle {
			remedy += "\nor " + EmulateRemedy
		}
	}
	return fault.New(remedy, "%s %d isn't among the ids mapped here, of which the highest is %d", kind, id, mapped.highest())
}
