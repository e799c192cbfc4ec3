package layer

import "strings"

const (
	// aufsPrefix begins the names that aufs kept at a layer's root for its own
	// use. Layers of images made on it hold them still.
	aufsPrefix = ".wh..wh."
	// aufsLinks is where aufs put one name of each file that has several: the
	// others may be hard links to that.
	aufsLinks = ".wh..wh.plnk"
)

// isAufs tells a name of aufs's own. The marker of an opaque directory looks
// the same, and is none.
func isAufs(base string) bool { return strings.HasPrefix(base, aufsPrefix) && base != whOpaque }

// passedOver tells what lies in a directory of aufs's own and isn't needed.
func passedOver(dir string) bool {
	if within(dir, aufsLinks) {
		return false
	}
	for part := range strings.SplitSeq(dir, "/") {
		if isAufs(part) {
			return true
		}
	}
	return false
}

// dropAufsLinks removes what was unpacked only to be linked to.
func (u *unpacker) dropAufsLinks() error { return u.clear(aufsLinks) }
