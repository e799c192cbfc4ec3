package chroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// openPoint opens a mount point below root, which is made where it isn't there. The
// kernel follows links inside root only, as it walks the path: a volume is shared with
// programs that may change the path at any time. The links of /proc that lead anywhere
// are refused.
func openPoint(root, destination string, isDir bool) (*os.File, error) {
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	at, err := pathrs.OpenatInRoot(dir, destination)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makePoint(dir, destination, isDir); err == nil {
			at, err = pathrs.OpenatInRoot(dir, destination)
		}
	}
	if err != nil {
		return nil, pathError("open", destination, err)
	}
	return at, nil
}

// openMounted opens what has been mounted at a path.
func openMounted(root, destination string) (*os.File, error) {
	at, err := openPoint(root, destination, true)
	if err != nil {
		return nil, err
	}
	var st unix.Statx_t
	err = unix.Statx(int(at.Fd()), "", unix.AT_EMPTY_PATH, 0, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		err = errors.New("another program has put something in its place")
	}
	if err != nil {
		return nil, errors.Join(pathError("open", destination, err), at.Close())
	}
	return at, nil
}

// makePoint makes a directory or a file, and the directories above it. What links there
// are decides about the place; on the way to that none is followed.
func makePoint(root *os.File, destination string, isDir bool) error {
	path, err := securejoin.SecureJoin(root.Name(), destination)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(root.Name(), path)
	if err != nil {
		return err
	}
	names := strings.Split(rel, "/")
	last := ""
	if !isDir {
		names, last = names[:len(names)-1], names[len(names)-1]
	}
	dir := int(root.Fd())
	for _, name := range names {
		next, err := makeDir(dir, name)
		if dir != int(root.Fd()) {
			_ = unix.Close(dir)
		}
		if err != nil {
			return err
		}
		dir = next
	}
	if dir != int(root.Fd()) {
		defer func() { _ = unix.Close(dir) }()
	}
	if isDir {
		return nil
	}
	file, err := unix.Openat(dir, last, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o755)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return pathError("create", last, err)
	}
	return unix.Close(file)
}

// makeDir opens a directory by its name in another one, once it is there.
func makeDir(dir int, name string) (int, error) {
	if err := unix.Mkdirat(dir, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, pathError("mkdir", name, err)
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, pathError("open", name, err)
	}
	return fd, nil
}
