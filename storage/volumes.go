package storage

import (
	"context"

	"github.com/builder-oci/builder/storage/volume"
)

// Volumes gives the volumes. It may be used when the store is closed: they have a
// lock of their own.
func (s *Store) Volumes() *volume.Store { return OpenVolumes(s.root) }

// OpenVolumes gives the volumes of the store at root without opening that.
func OpenVolumes(root string) *volume.Store {
	s := Store{root: root}
	return volume.Open(s.Dir(volumesDir), s.Dir(volumesLock))
}

// HoldVolumes keeps every volume from being removed until the store is closed, or
// ReleaseVolumes called: for who is about to write a container's configuration,
// which names some.
func (s *Store) HoldVolumes(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes.Held() {
		return nil
	}
	var err error
	s.volumes, err = s.Volumes().Hold(ctx)
	return Explain(s.root, err)
}

// ReleaseVolumes ends HoldVolumes. Whoever removes a volume himself calls it before.
func (s *Store) ReleaseVolumes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.volumes.Unlock()
}
