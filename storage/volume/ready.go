package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/lock"
)

// Ready makes a volume fit for a container that is about to have it. Where it is
// empty fill gives it its first content; a nil fill leaves it. Of several
// containers that begin at once one fills it, and the others wait; what one that
// was killed had filled in goes first. It works inside the user namespace.
func (s *Store) Ready(ctx context.Context, name string, fill func(dir string) error) error {
	held, err := lock.Exclusive(ctx, filepath.Join(s.own(name), fillLock))
	if err != nil {
		return err
	}
	defer held.Unlock()
	marker, data := filepath.Join(s.own(name), fillMarker), s.Data(name)
	if _, err := os.Lstat(marker); err == nil {
		if err := errors.Join(clearDir(data), os.Remove(marker)); err != nil {
			return err
		}
	}
	if fill == nil {
		return nil
	}
	if empty, err := isEmpty(data); err != nil || !empty {
		return err
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return err
	}
	if err := fill(data); err != nil {
		err = fmt.Errorf("fill volume %s: %w", name, err)
		if cleared := clearDir(data); cleared != nil {
			return errors.Join(err, cleared) // the marker stays
		}
		return errors.Join(err, os.Remove(marker))
	}
	return os.Remove(marker)
}

func isEmpty(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// clearDir removes what is in a directory.
func clearDir(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		if err := removal.All(filepath.Join(dir, name.Name())); err != nil {
			return err
		}
	}
	return nil
}
