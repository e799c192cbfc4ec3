package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/lock"
)

// Reset removes the store at root whole, of whatever format. Files of
// subordinate ids are among it, so it works inside the user namespace only. It
// refuses what isn't a store, what is another user's, what is in use, and what would
// remain in part.
func Reset(ctx context.Context, root string) error {
	if err := refuseReset(root); err != nil {
		return err
	}
	// A store without its locks was being removed, and nobody can open it.
	if err := os.MkdirAll(filepath.Join(root, locksDir), 0o700); err != nil {
		return err
	}
	l, alone, err := lock.TryExclusive(filepath.Join(root, storeLock))
	if err != nil {
		return Explain(root, err)
	}
	if !alone {
		return fault.New("end the builder commands and containers that use it, and try again",
			"the store %s is in use", root)
	}
	defer l.Unlock()
	if err := refuseLiving(root); err != nil {
		return err
	}
	if err := removal.Possible(root); err != nil {
		return fmt.Errorf("nothing was removed of the store %s: %w", root, err)
	}
	// From here on it is no store any more, whenever this is cut short; and
	// without its records a tree that is only partly gone is nobody's tree.
	for _, name := range []string{versionFile, recordsDir, cacheDir, imagesDir} {
		if err := removal.All(filepath.Join(root, name)); err != nil {
			return fmt.Errorf("remove the store: %w", err)
		}
	}
	return removeRest(ctx, root)
}

// refuseLiving is an error where a container has a living monitor. Those don't hold
// the store. None can be made or started while the caller is alone with it.
func refuseLiving(root string) error {
	dir := ContainersDir(root)
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		free, err := lock.Free(filepath.Join(dir, name.Name(), containerLock))
		if err != nil {
			return Explain(root, err)
		}
		if !free {
			id := name.Name()
			return fault.New("stop it first: builder stop "+id[:min(len(id), 12)],
				"a container of the store %s is running", root)
		}
	}
	return nil
}

// removeRest removes all but the README and the locks, then these, and the
// directory itself, if that is nobody's mount point.
func removeRest(ctx context.Context, root string) error {
	names, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	var last []string
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch n := name.Name(); n {
		case readmeFile, locksDir:
			last = append(last, n)
		case lostAndFound:
		default:
			if err := removal.All(filepath.Join(root, n)); err != nil {
				return fmt.Errorf("remove the store: %w", err)
			}
		}
	}
	for _, name := range last {
		if err := removal.All(filepath.Join(root, name)); err != nil {
			return fmt.Errorf("remove the store: %w", err)
		}
	}
	err = os.Remove(root)
	for _, harmless := range []error{unix.EBUSY, unix.ENOTEMPTY, unix.EACCES, unix.EPERM} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}

// refuseReset is an error where root isn't a store of this user.
func refuseReset(root string) error {
	_, err := os.Stat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New("", "%s: %w", root, ErrNoStore)
	}
	if err != nil {
		return err
	}
	if err := checkOwner(root); err != nil {
		return err
	}
	if err := refuseForeign(root); err != nil {
		return err
	}
	readme, err := os.ReadFile(filepath.Join(root, readmeFile))
	if err != nil || !strings.HasPrefix(string(readme), Readme[:strings.IndexByte(Readme, ':')]) {
		return fault.New("remove it by hand, if it is what you mean",
			"%s is not a builder store: it has no README that says so", root)
	}
	return nil
}
