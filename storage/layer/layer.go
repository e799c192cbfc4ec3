// Package layer turns directory trees into the layers of an image and back:
// what a step changed becomes a canonical tar, and a tar becomes a directory
// that overlayfs (the kernel's or FUSE's) or vfs can stack.
//
// A change is described by an [Entry], a list of changes by a [Source].
// [Upper] reads one from the upper directory of an overlay mount, [Compare]
// from a changed full copy, [Entries] from memory. [Pack] writes a Source as a
// blob. In the other direction [Unpack] writes a tar into a directory, and
// [DirWriter] does so with single entries. [Tree] shows the stacked
// directories merged, without mounting anything.
//
// All drivers agree on what stands in a layer: an entry does if and only if
// it is new, or differs from the parent's tree in type, mode, owner, extended
// attributes, link target, device, time of change in whole seconds, or content.
// Deleted names stand in it as whiteouts. The time of a directory that is below
// as well counts only where names in it came or went or where it was set to one
// at which the step wasn't running, because drivers differ in what moves it.
// That it was set to a time before the step is told by the directory's time of
// birth; where the file system keeps none, only a time before the last change of
// the directory below counts, so that there a time in between is lost. The root's
// time doesn't count at all, because mount points that a sandbox makes in it move
// it.
package layer

import (
	"context"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// The types that an [Entry] can have, as tar writes them.
const (
	TypeReg     = '0'
	TypeLink    = '1'
	TypeSymlink = '2'
	TypeChar    = '3'
	TypeBlock   = '4'
	TypeDir     = '5'
	TypeFifo    = '6'
)

// Entry is one name in a layer, or one name of a tree. There may be very many, so the
// small fields lie together.
type Entry struct {
	// Path is relative to the root, with slashes and without one in front;
	// the root itself is "".
	Path string
	// Type is one of the Type constants. It is zero for a whiteout, and for a socket
	// where those are told of.
	Type byte
	// Whiteout says that Path exists below and no longer here. Only Path
	// counts then.
	Whiteout bool
	// Implied marks a directory that hasn't changed. It comes along because
	// something beneath it stands in the layer, and because many tools make
	// up a directory that a layer's tar lacks as 0755 root:root, which opens
	// /root to everybody and takes /tmp its sticky bit.
	Implied bool
	// Below says that the parent's tree has the name too, of a Source that compares.
	Below bool
	// timeKept says that ModTime is the one that the parent's tree has here.
	timeKept bool
	// Mode holds the permission bits with setuid, setgid and sticky: 07777.
	Mode int64
	// UID and GID are as inside the user namespace.
	UID, GID uint32
	// Size is the content's length in bytes; zero for all but regular files.
	Size    int64
	ModTime time.Time
	// Linkname is a symbolic link's target as it stands, or the Path of the
	// file that a hard link is another name of.
	Linkname string
	// Xattrs are those that layers keep: security.capability and user.*
	// without the names that storage drivers use. It may be nil.
	Xattrs             map[string]string
	Devmajor, Devminor int64
	// Open gives a regular file's content, which the caller closes. It may be
	// nil where Size is zero.
	Open func() (io.ReadCloser, error)
}

// Source is a list of entries.
type Source interface {
	// Walk calls fn for each entry, a directory before what is in it, names
	// in one directory sorted bytewise. The entry is fn's only until it
	// returns. Walk ends at the first error of fn and gives it back.
	Walk(ctx context.Context, fn func(*Entry) error) error
}

// Flavor is the storage driver whose rules a directory follows. The names are
// those of the drivers.
type Flavor string

// The flavors. Fuse and Overlay are upper directories over a stack, in which a
// whiteout is a character device 0:0 and an opaque directory bears an extended
// attribute; VFS is a full copy of the tree. Stacked are upper directories that
// nobody mounts: an ordinary user without a namespace writes and reads them.
const (
	Fuse    Flavor = "fuse-overlayfs"
	Overlay Flavor = "overlay"
	VFS     Flavor = "vfs"
	Stacked Flavor = "stacked"
)

// opaqueXattr is what marks a directory that hides what lies below it.
func (f Flavor) opaqueXattr() string {
	if f == Overlay {
		return nativeOpaque
	}
	return fuseOpaque
}

// Entries makes a Source of entries that are already in its order.
func Entries(entries []*Entry) Source { return entryList(entries) }

type entryList []*Entry

func (l entryList) Walk(ctx context.Context, fn func(*Entry) error) error {
	for _, e := range l {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// entryOf tells what stat alone knows of path: everything but link target,
// extended attributes and content.
func entryOf(path string, st *unix.Stat_t) Entry {
	e := Entry{
		Path:    path,
		Type:    typeOf(st.Mode),
		Mode:    int64(st.Mode & 0o7777),
		UID:     st.Uid,
		GID:     st.Gid,
		ModTime: time.Unix(st.Mtim.Unix()),
	}
	switch e.Type {
	case TypeReg:
		e.Size = st.Size
	case TypeChar, TypeBlock:
		e.Devmajor, e.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return e
}

// typeOf is the tar type of a mode, or zero where tar has none (sockets).
func typeOf(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return TypeReg
	case unix.S_IFDIR:
		return TypeDir
	case unix.S_IFLNK:
		return TypeSymlink
	case unix.S_IFCHR:
		return TypeChar
	case unix.S_IFBLK:
		return TypeBlock
	case unix.S_IFIFO:
		return TypeFifo
	}
	return 0
}

// isWhiteout tells the character device 0:0 that overlay drivers leave where
// a name of a lower layer was deleted.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// hidesLower tells what hides a name of the layers below and shows none: a whiteout,
// or a socket.
func hidesLower(st *unix.Stat_t) bool { return isWhiteout(st) || typeOf(st.Mode) == 0 }
