package snapshot

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/room"
)

// ErrNoRoom says that what needn't be kept had better not be.
var ErrNoRoom = errors.New("the disk is nearly full")

const (
	// Of a disk one part in leastRoom has to be free, of bytes and of files, or
	// else enoughRoom bytes.
	leastRoom  = 20
	enoughRoom = 4 << 30
)

// HasRoomFor is an error where the disk hasn't so many bytes.
func (s *Store) HasRoomFor(need int64) error { return room.For(s.home, need) }

// HasRoom is ErrNoRoom where trees that nobody asked to keep would be in the way
// of what comes next: a step that filled the disk fails, and its tree with it.
func (s *Store) HasRoom() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.home, &fs); err != nil {
		return err
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if free < enoughRoom && fs.Bavail < fs.Blocks/leastRoom || fs.Ffree < fs.Files/leastRoom {
		return ErrNoRoom
	}
	return nil
}
