package layer

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/owner"
)

// Owner is who a file belongs to, as inside the user namespace. Where an ordinary
// user wrote it without a namespace, it is also what else the file can't have: one
// of mode 0444 would get no attribute, one of 0000 couldn't be read back, and
// security.capability is root's to set. Then all files but those that are root's,
// and of whose mode and attributes nothing is missing, have a record.
type Owner struct {
	UID, GID uint32
	Mode     int64             `json:",omitempty"`
	Xattrs   map[string][]byte `json:",omitempty"`
}

func (o Owner) isRoot() bool { return o.UID == 0 && o.GID == 0 }

func (o Owner) override(mode int64) string {
	return fmt.Sprintf("%d:%d:0%o", o.UID, o.GID, mode)
}

// bySideRecord says whether an entry's owner is told by the side record: it
// can't bear attributes, or is the root, whose attributes the driver reads.
func bySideRecord(e *Entry) bool {
	return e.Path == "" || e.Type != TypeReg && e.Type != TypeDir
}

// ownFD gives an open file or directory its owner and attributes.
func (s *sink) ownFD(fd int, path string, e *Entry) error {
	if s.o.Unprivileged {
		return s.record(path, e)
	}
	if !s.o.ExactOwners {
		if err := s.override(fd, path, e); err != nil {
			return err
		}
	} else if s.o.Flavor == VFS || e.Type == TypeDir || e.UID != s.uid || e.GID != s.gid {
		if err := unix.Fchown(fd, int(e.UID), int(e.GID)); err != nil {
			return ownerError(path, e, err)
		}
	}
	for name, value := range e.Xattrs {
		if err := setXattr(fd, path, name, value); err != nil {
			return err
		}
	}
	return nil
}

// override notes the owner of a file or directory that can't have it.
func (s *sink) override(fd int, path string, e *Entry) error {
	o := Owner{UID: e.UID, GID: e.GID}
	if e.Type == TypeDir {
		// A full copy has what a program has set.
		if err := removeXattr(fd, owner.Emulated); err != nil {
			return err
		}
	}
	if path == "" {
		// The storage driver reads the root's attribute, and would give the
		// directory above the owner that can't be had.
		return s.noteOwner(path, o)
	}
	if !o.isRoot() {
		return setXattr(fd, path, overrideStat, o.override(e.Mode))
	}
	if e.Type != TypeDir {
		return nil
	}
	return removeXattr(fd, overrideStat)
}

func removeXattr(fd int, name string) error {
	err := unix.Fremovexattr(fd, name)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// noteOwner puts an owner into the side record.
func (s *sink) noteOwner(path string, o Owner) error {
	if o.isRoot() {
		return s.o.Owners.drop(path)
	}
	return s.o.Owners.set(path, o)
}

// own gives a link or special file its owner.
func (s *sink) own(dirfd int, base, path string, e *Entry) error {
	switch {
	case s.o.Unprivileged:
		return s.record(path, e)
	case !s.o.ExactOwners:
		return s.noteOwner(path, Owner{UID: e.UID, GID: e.GID})
	}
	if s.o.Flavor != VFS && e.UID == s.uid && e.GID == s.gid {
		return nil
	}
	return ownerError(path, e, unix.Fchownat(dirfd, base, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW))
}

// ErrOwner says that the file system didn't let a file have its owner.
var ErrOwner = errors.New("it can't be given to its owner")

// ownerError explains the kernel's EINVAL for an id that has no place in the
// user namespace.
func ownerError(path string, e *Entry, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("/%s, of %d:%d: %w: %w", path, e.UID, e.GID, ErrOwner, err)
	}
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	return fault.New("give your user a larger range of subordinate ids, as root:\n"+
		"  usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER",
		"/%s belongs to %d:%d, and your range of subordinate ids has no room for that", path, e.UID, e.GID)
}

// ErrAttributes says that the file system has no extended attributes for users.
var ErrAttributes = errors.New("there are no extended attributes for users")

func setXattr(fd int, path, name, value string) error {
	err := unix.Fsetxattr(fd, name, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) {
		if strings.HasPrefix(name, "user.") {
			return fmt.Errorf("/%s: %s: %w", path, name, ErrAttributes)
		}
		return fault.New("put the store on a file system that has them, such as ext4, xfs or btrfs",
			"/%s: the file system keeps no extended attribute %s", path, name)
	}
	if err != nil {
		return fmt.Errorf("/%s: extended attribute %s: %w", path, name, err)
	}
	return nil
}
