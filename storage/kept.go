package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// KeptDriver is the driver that a container's tree was made with, or
// snapshot.ErrNotFound. It needs no user namespace.
func (s *Store) KeptDriver(container string) (snapshot.Driver, error) {
	kept, err := snapshot.ReadKept(s.Dir(snapshotsDir), container)
	if err != nil {
		return "", err
	}
	return snapshot.DriverOf(kept.Root), nil
}

// KeptDirs gives the directories that make up the files of a container, its own
// first.
func (s *Store) KeptDirs(container string) ([]string, error) {
	return snapshot.KeptDirs(s.Dir(snapshotsDir), container)
}

// KeptChanges gives what a container has changed, outside of the user namespace:
// see snapshot.PlainChanges.
func (s *Store) KeptChanges(container string, single bool, o snapshot.ChangeOptions) (layer.Source, error) {
	return snapshot.PlainChanges(s.Dir(snapshotsDir), container, single, o)
}

// PackedLayers gives what the tree of key can be unpacked from, without an image that
// names it: a container may stand on one that was removed since. It is
// snapshot.ErrNotFound where a layer isn't there any more.
func (s *Store) PackedLayers(key snapshot.Key) ([]snapshot.UnpackLayer, error) {
	packed, err := s.records.Layers(key)
	if err != nil {
		return nil, err
	}
	layers := make([]snapshot.UnpackLayer, 0, len(packed))
	for _, p := range packed {
		if !s.layout.HasBlob(p.Blob.Digest, p.Blob.Size) {
			return nil, fmt.Errorf("layer %s: %w", p.Blob.Digest, snapshot.ErrNotFound)
		}
		layers = append(layers, snapshot.UnpackLayer{
			Key: p.Key, DiffID: p.DiffID, Size: p.Blob.Size, Blob: p.Blob.Digest,
			Open: func() (io.ReadCloser, error) { return s.layout.OpenBlob(p.Blob) },
		})
	}
	return layers, nil
}

// sweepKept removes the trees of containers that are gone, or that were never made:
// a container has its directory before the session ends which made its tree.
func (s *Store) sweepKept(ctx context.Context) error {
	dir := s.Dir(snapshotsDir)
	owners, err := snapshot.KeptOwners(dir)
	errs := []error{err, snapshot.FinishKept(dir)}
	for _, owner := range owners {
		if ctx.Err() != nil {
			break
		}
		if s.hasContainer(owner) {
			continue
		}
		if gone, err := s.ownerIsGone(owner); err != nil || !gone {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, snapshot.RemoveKept(dir, owner))
	}
	return errors.Join(errs...)
}

// ownerIsGone tells whether the owner of a kept tree won't come any more. The
// session is asked first: when that has ended, the owner is there or not.
func (s *Store) ownerIsGone(owner string) (bool, error) {
	k, err := snapshot.ReadKept(s.Dir(snapshotsDir), owner)
	if errors.Is(err, snapshot.ErrNotFound) {
		return false, nil // somebody else was quicker
	}
	if err != nil {
		return false, err
	}
	if k.Session == s.sessionID {
		return false, nil
	}
	if safeName(k.Session) {
		ended, err := lock.Free(filepath.Join(s.Dir(sessionsDir), k.Session))
		if err != nil || !ended {
			return false, err
		}
	}
	return !s.hasContainer(owner), nil
}

func (s *Store) hasContainer(id string) bool {
	_, err := os.Lstat(filepath.Join(s.Dir(containersDir), id))
	return !errors.Is(err, fs.ErrNotExist)
}

// keptTrees gives those of trees that are kept: whether they stay is for sweepKept
// to see.
func (s *Store) keptTrees(trees []journalled) (map[treeName]bool, error) {
	kept := map[treeName]bool{}
	if len(trees) == 0 {
		return kept, nil
	}
	list, err := snapshot.KeptTrees(s.Dir(snapshotsDir))
	for _, k := range list {
		kept[treeName{k.Root, k.ID}] = true
	}
	return kept, err
}
