package main

import (
	"context"
	"errors"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage/volume"
)

// removeAnonymous removes the volumes that go with a container: those that nobody
// has named and that no other container has. It comes before the container's own
// directory goes, so that what it leaves when it is killed can be found again, and
// works inside the user namespace. The store may be closed.
func removeAnonymous(ctx context.Context, volumes *volume.Store, containers string, config container.Config) error {
	var names []string
	for _, m := range config.Mounts {
		if m.Type == container.MountVolume && m.Anonymous && m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return removeEach(ctx, volumes, names, volumeUsers(containers, config.ID))
}

// removeVolumes removes volumes that no container has.
func (h *host) removeVolumes(ctx context.Context, names []string) error {
	return removeEach(ctx, h.store.Volumes(), names, volumeUsers(containersDir(h.store), ""))
}

func removeEach(ctx context.Context, volumes *volume.Store, names []string, users volume.Users) error {
	var errs []error
	for _, name := range names {
		err := volumes.Remove(ctx, name, users)
		if errors.Is(err, volume.ErrInUse) || errors.Is(err, volume.ErrUnknown) {
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
