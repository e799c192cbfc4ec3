// Package owner tells whose the files are that this process makes.
package owner

import (
	"os"

	"golang.org/x/sys/unix"
)

// IDs gives the ids of files that this process makes: its own, but for root of a
// user namespace that leaves the caller his own ids, who makes files as the
// caller (setfsuid(2)).
func IDs() (uid, gid int) {
	uid, gid = os.Geteuid(), os.Getegid()
	// An id that doesn't exist changes nothing, and gives the present one.
	if u, err := unix.SetfsuidRetUid(-1); err == nil {
		uid = u
	}
	if g, err := unix.SetfsgidRetGid(-1); err == nil {
		gid = g
	}
	return uid, gid
}
