package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/layer"
)

// What clean-up and checks need to know of driver roots is below: it works
// on directories alone, because the driver that made them may not work here any
// more.

const (
	linksDir = "l"   // where the overlay driver keeps short names of its trees
	vfsDir   = "dir" // where the vfs driver keeps its trees
	// What a tree of the other drivers has: its own changes, and the list of those
	// that it stands on.
	topDir    = "diff"
	lowerFile = "lower"
)

// Roots gives the names of the driver roots below dir.
func Roots(dir string) ([]string, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, name := range names {
		if name.IsDir() && isRoot(name.Name()) {
			roots = append(roots, name.Name())
		}
	}
	return roots, nil
}

func isRoot(name string) bool { return DriverOf(name) != "" }

// DriverOf gives the driver of a driver root, "" for what is none.
func DriverOf(root string) Driver {
	for _, d := range []Driver{Fuse, Overlay, VFS, Stacked} {
		if strings.HasPrefix(root, string(d)+"-") {
			return d
		}
	}
	return ""
}

func isVFS(root string) bool { return DriverOf(root) == VFS }

// IDs gives the ids of the trees that a driver root below dir holds, whether a
// record names them or not.
func IDs(dir, root string) ([]string, error) {
	home := filepath.Join(dir, root)
	if isVFS(root) {
		home = filepath.Join(home, vfsDir)
	}
	names, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		if name.IsDir() && name.Name() != linksDir && !strings.HasPrefix(name.Name(), ".") {
			ids = append(ids, name.Name())
		}
	}
	return ids, nil
}

// Stack gives the ids of a tree and of those that it stands on, the top one
// first, all of which are there.
func Stack(dir, root, id string) ([]string, error) {
	ids, err := stackOf(filepath.Join(dir, root), id)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if _, err := os.Lstat(TreePath(dir, root, id)); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func stackOf(home, id string) ([]string, error) {
	switch DriverOf(filepath.Base(home)) {
	case VFS:
		return []string{id}, nil
	case Stacked:
		return stackedIDs(home, id)
	}
	return overlayStack(home, id)
}

// Whole is an error where a tree lacks something: its own directory, one that it
// stands on, or what lies beside it under its name. That a tree of single-id mode
// has no side record can't be told from one that needs none.
func Whole(dir, root, id string) error {
	if _, err := Stack(dir, root, id); err != nil {
		return err
	}
	return WholeBeside(dir, root, id)
}

// WholeBeside is an error where something lacks that lies beside a tree under its
// name.
func WholeBeside(dir, root, id string) error {
	home := filepath.Join(dir, root)
	if err := checkOwners(home, id); err != nil {
		return err
	}
	if !isVFS(root) {
		return nil
	}
	_, err := layer.LoadBase(filepath.Join(home, id+baseFile))
	return err
}

// TreePath is the directory that holds what a tree changes; with vfs, the whole
// tree.
func TreePath(dir, root, id string) string {
	if isVFS(root) {
		return filepath.Join(dir, root, vfsDir, id)
	}
	return filepath.Join(dir, root, id, topDir)
}

// RemoveTree removes a tree, or what there is of it, with its side files from
// a driver root below dir.
func RemoveTree(dir, root, id string) error {
	home := filepath.Join(dir, root)
	errs := []error{removeLinks(home, id)}
	for _, path := range []string{id, filepath.Join(vfsDir, id), filepath.Join(vfsDir, id+removal.AsideSuffix), id + ownersFile, id + baseFile, id + settledFile} {
		errs = append(errs, removal.All(filepath.Join(home, path)))
	}
	return errors.Join(errs...)
}

// removeLinks removes the overlay driver's short name of a tree. The driver
// writes down the name without syncing it: after a power failure it may be
// empty or anything, and the link has to be looked for.
func removeLinks(home, id string) error {
	name, err := os.ReadFile(filepath.Join(home, id, "link"))
	if err != nil {
		return nil //nolint:nilerr // a tree without a name, or none at all
	}
	links := filepath.Join(home, linksDir)
	if isShortName(string(name)) {
		return ignoreAbsent(os.Remove(filepath.Join(links, string(name))))
	}
	names, err := os.ReadDir(links)
	errs := []error{ignoreAbsent(err)}
	for _, name := range names {
		link := filepath.Join(links, name.Name())
		if target, err := os.Readlink(link); err == nil && target == filepath.Join("..", id, "diff") {
			errs = append(errs, ignoreAbsent(os.Remove(link)))
		}
	}
	return errors.Join(errs...)
}

// isShortName reports whether s is a name such as the overlay driver makes.
func isShortName(s string) bool {
	const length = 26
	return len(s) == length && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// overlayStack reads the overlay driver's own list of the trees below one:
// links whose targets are ../ID/diff.
func overlayStack(home, id string) ([]string, error) {
	ids := []string{id}
	lower, err := os.ReadFile(filepath.Join(home, id, "lower"))
	if errors.Is(err, fs.ErrNotExist) {
		return ids, nil
	}
	if err != nil {
		return nil, err
	}
	for link := range strings.SplitSeq(string(lower), ":") {
		target, err := os.Readlink(filepath.Join(home, link))
		if err != nil {
			return nil, err
		}
		below := filepath.Base(filepath.Dir(target))
		if target != filepath.Join("..", below, "diff") {
			return nil, fmt.Errorf("tree %s: %s is no tree", id, target)
		}
		ids = append(ids, below)
	}
	return ids, nil
}
