package owner

import (
	"fmt"
	"strconv"
	"strings"
)

// Attributes in which a file keeps an owner that it can't have itself, because the
// user namespace maps a single id. The value is uid:gid, and may go on after
// another colon.
const (
	// Override is what containers' tools know: "uid:gid:mode". Unpacking and COPY
	// write it.
	Override = "user.containers.override_stat"
	// Emulated is that of an owner set by a program, and counts before Override,
	// which fuse-overlayfs lets nobody write.
	Emulated = "user.builder.owner"
)

// Value is an attribute's for an owner.
func Value(uid, gid uint32) []byte { return fmt.Appendf(nil, "%d:%d", uid, gid) }

// Parse reads the value of an attribute. The mode in it is passed over: the file
// itself has it, and a chmod changes only that.
func Parse(value string) (uid, gid uint32, ok bool) {
	fields := strings.SplitN(value, ":", 3)
	if len(fields) < 2 {
		return 0, 0, false
	}
	u, errUID := strconv.ParseUint(fields[0], 10, 32)
	g, errGID := strconv.ParseUint(fields[1], 10, 32)
	return uint32(u), uint32(g), errUID == nil && errGID == nil
}

// Recorded reads the owner that a file has on record. get reads an attribute.
func Recorded(get func(name string, value []byte) (int, error)) (uid, gid uint32, ok bool) {
	for _, name := range []string{Emulated, Override} {
		var value [64]byte
		if n, err := get(name, value[:]); err == nil {
			if uid, gid, ok = Parse(string(value[:n])); ok {
				return uid, gid, true
			}
		}
	}
	return 0, 0, false
}
