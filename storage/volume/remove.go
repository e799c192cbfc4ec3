package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/lock"
)

// Users gives the ids of the containers that have volumes, by the volumes' names.
type Users func() map[string][]string

// Remove removes a volume that no container has. Files in it may belong to
// subordinate ids: it works inside the user namespace.
func (s *Store) Remove(ctx context.Context, name string, users Users) error {
	if _, err := s.Get(name); err != nil {
		return err
	}
	held, err := lock.Exclusive(ctx, s.lockFile)
	if err != nil {
		return err
	}
	aside, err := s.detach(name, users())
	gone, failed := s.leftovers(users)
	held.Unlock()
	if err == nil {
		gone = append(gone, detached{aside: aside})
	}
	err = errors.Join(err, failed)
	for _, g := range gone {
		err = errors.Join(err, removal.All(g.aside))
	}
	return err
}

// detach takes a volume's name from it, while the lock is held exclusively.
func (s *Store) detach(name string, users map[string][]string) (aside string, err error) {
	if _, err := s.Get(name); err != nil {
		return "", err
	}
	if ids := users[name]; len(ids) > 0 {
		return "", fmt.Errorf("remove %s: %w - [%s]", name, ErrInUse, strings.Join(ids, ", "))
	}
	aside = filepath.Join(s.dir, atomicfile.Prefix+NewName())
	return aside, os.Rename(s.own(name), aside)
}

// Removed is a volume that is gone, and what it took.
type Removed struct {
	Volume
	Bytes int64
}

// Prune removes the volumes that match and that no container has, and what killed
// commands have left; measure tells what a directory takes. It works inside the
// user namespace. With an error it gives what is gone all the same.
func (s *Store) Prune(ctx context.Context, users Users, match func(Volume) bool, measure func(dir string) (int64, error)) ([]Removed, error) {
	gone, err := s.detachAll(ctx, users, match)
	var removed []Removed
	for _, g := range gone {
		bytes, measured := measure(g.aside)
		err = errors.Join(err, measured, removal.All(g.aside))
		if g.volume.Name != "" {
			removed = append(removed, Removed{g.volume, bytes})
		}
	}
	return removed, err
}

// detached is a volume that has lost its name; one that a killed command has left
// had none any more.
type detached struct {
	volume Volume
	aside  string
}

func (s *Store) detachAll(ctx context.Context, users Users, match func(Volume) bool) ([]detached, error) {
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	held, err := lock.Exclusive(ctx, s.lockFile)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	gone, err := s.leftovers(users)
	if err != nil {
		return gone, err
	}
	volumes, err := s.List()
	if err != nil {
		return gone, err
	}
	inUse := users()
	for _, v := range volumes {
		if !match(v) {
			continue
		}
		aside, err := s.detach(v.Name, inUse)
		if errors.Is(err, ErrInUse) {
			continue
		}
		if err != nil {
			return gone, err
		}
		gone = append(gone, detached{v, aside})
	}
	return gone, nil
}

// Sweep removes what killed commands have left, unless somebody is about to make or
// remove something. It works inside the user namespace.
func (s *Store) Sweep(users Users) error {
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	held, alone, err := lock.TryExclusive(s.lockFile)
	if err != nil || !alone {
		return err
	}
	gone, err := s.leftovers(users)
	held.Unlock()
	for _, g := range gone {
		err = errors.Join(err, removal.All(g.aside))
	}
	return err
}

// leftovers are directories aside, and volumes that were made for containers which
// weren't: nobody makes one while the lock is held exclusively. What is being removed
// may be so by two.
func (s *Store) leftovers(users Users) (all []detached, err error) {
	entries, err := os.ReadDir(s.dir)
	var inUse map[string][]string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, atomicfile.Prefix) {
			all = append(all, detached{aside: filepath.Join(s.dir, name)})
			continue
		}
		if _, err := os.Lstat(filepath.Join(s.own(name), makeMarker)); err != nil {
			continue
		}
		if inUse == nil {
			inUse = users()
		}
		aside, err := s.detach(name, inUse)
		switch {
		case errors.Is(err, ErrInUse): // the container had been made
			err = s.Made(name)
		case err == nil:
			all = append(all, detached{aside: aside})
		}
		if err != nil {
			return all, err
		}
	}
	return all, err
}
