// Package room tells, before much is written, whether a disk has room for it.
package room

import (
	"fmt"
	"math"

	units "github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// Plenty is so much free space that nobody estimates what he needs.
const Plenty = 4 << 30

// What makes room in a store.
const (
	PruneCache  = "builder cache prune    # frees what only the build cache holds"
	RemoveImage = "builder rmi IMAGE      # frees what no other image uses"
)

// Free gives the bytes that are free for the user on the disk that holds a path. A
// file system that doesn't tell its size has room without end.
func Free(path string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	if fs.Blocks == 0 {
		return math.MaxInt64, nil
	}
	return int64(min(fs.Bavail*uint64(fs.Bsize), math.MaxInt64)), nil //nolint:gosec // signed on some machines
}

// For is an error where the disk that holds a path hasn't so many bytes. They are the
// least that what comes will take, so that nothing is refused that would fit. What
// can't be found out is no error: writing will show it.
func For(path string, need int64) error {
	free, err := Free(path)
	if err != nil || need <= free {
		return nil //nolint:nilerr // see above
	}
	return fault.New(PruneCache+"\n"+RemoveImage+"\n"+
		"or keep the store on a larger disk: builder --root DIR …",
		"needs about %s, and %s are free on the disk of %s: %w",
		units.HumanSize(float64(need)), units.HumanSize(float64(free)), path, unix.ENOSPC)
}
