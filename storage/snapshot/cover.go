package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/storage/layer"
)

// ErrNoCover says that a directory can't be shown without copying it.
var ErrNoCover = errors.New("no overlay can be mounted over the directory")

// Cover shows a directory that isn't the store's, such as a build context, less
// the hidden paths below it. What is written there doesn't reach it, and is gone
// with uncover. No file is read or copied: hidden is what it costs. aside is an
// empty directory of the caller's, on a disk, which he removes after uncover.
//
// With the drivers vfs and stacked, and where neither the kernel nor fuse-overlayfs can do
// it, the error is ErrNoCover.
func (s *Store) Cover(ctx context.Context, dir string, hidden []string, aside string) (path string, uncover func() error, err error) {
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	if s.flavor == layer.VFS || s.flavor == layer.Stacked || strings.ContainsAny(aside, ":,\\") {
		return "", nil, ErrNoCover
	}
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(aside, name), 0o755); err != nil {
			return "", nil, err
		}
	}
	// The directory's own path may hold what mount options can't.
	if err := os.Symlink(dir, filepath.Join(aside, "lower")); err != nil {
		return "", nil, err
	}
	if err := s.hide(dir, filepath.Join(aside, "upper"), hidden); err != nil {
		return "", nil, fmt.Errorf("hide what the ignore file leaves out: %w", err)
	}
	path = filepath.Join(aside, "merged")
	if err := s.mountCover(ctx, aside, path); err != nil {
		return "", nil, err
	}
	return path, func() error { return unix.Unmount(path, unix.MNT_DETACH) }, nil
}

// hide makes the upper directory in which the paths are deleted.
func (s *Store) hide(dir, upper string, hidden []string) error {
	below := layer.NewTree([]string{dir})
	if !s.exact {
		below = layer.NewSingleIDTree([]string{dir}, nil)
	}
	owners := layer.NewOwners(s.records.Dir())
	defer owners.Close()
	o := s.dirOptions(owners)
	if err := layer.InitRoot(upper, below, o); err != nil {
		return errors.Join(err, below.Close())
	}
	w := layer.NewDirWriter(upper, below, o)
	for _, path := range hidden {
		if err := w.Remove(path); err != nil {
			return errors.Join(err, w.Close(), below.Close())
		}
	}
	return errors.Join(w.Close(), below.Close())
}

// mountCover asks the kernel first, whatever the driver of the trees is: it is
// faster, and what the two write differs only in what nobody reads afterwards.
func (s *Store) mountCover(ctx context.Context, aside, path string) error {
	if nativeCover(aside, path) == nil {
		return nil
	}
	return s.fuseCover(ctx, aside, path)
}

func nativeCover(aside, path string) error {
	return unix.Mount("overlay", path, "overlay", 0, coverOptions(aside)+",userxattr")
}

func (s *Store) fuseCover(ctx context.Context, aside, path string) error {
	if s.mountProgram == "" {
		return ErrNoCover
	}
	if err := exec.CommandContext(ctx, s.mountProgram, "-o", coverOptions(aside), path).Run(); err != nil {
		return errors.Join(ErrNoCover, err, ctx.Err())
	}
	return nil
}

func coverOptions(aside string) string {
	return fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", aside)
}
