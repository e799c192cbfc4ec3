package main

import (
	"context"
	"errors"
	"slices"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage"
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

// removeAnonymous is removeAnonymous of the container that is watched, however far it
// has come.
func (w *watched) removeAnonymous(config container.Config) error {
	store := w.host.store
	store.ReleaseVolumes()
	return removeAnonymous(context.Background(), store.Volumes(), containersDir(store), config)
}

// haveVolumes notes that the container has what volumes were made for it.
func (w *watched) haveVolumes(config container.Config) error {
	var errs []error
	for _, m := range config.Mounts {
		if m.Type == container.MountVolume && m.Anonymous {
			errs = append(errs, w.host.store.Volumes().Made(m.Name))
		}
	}
	return errors.Join(errs...)
}

// sweepContainers removes what killed monitors have left of containers that were to
// be removed, or were being made, and their volumes. It works inside the user
// namespace.
func sweepContainers(ctx context.Context, store *storage.Store) error {
	dir := containersDir(store)
	err := container.Sweep(dir, func(c container.Config) error { return removeAnonymous(ctx, store.Volumes(), dir, c) })
	return errors.Join(err, store.Volumes().Sweep(volumeUsers(dir, "")))
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

// volumeUsers gives the ids of the containers that have volumes, but for one that is
// being removed, by the volumes' names.
func volumeUsers(containers, except string) func() map[string][]string {
	return func() map[string][]string {
		users := map[string][]string{}
		for _, found := range container.List(containers) {
			if found.Config.ID == except {
				continue
			}
			for _, m := range found.Config.Mounts {
				if m.Type == container.MountVolume && !slices.Contains(users[m.Name], found.Config.ID) {
					users[m.Name] = append(users[m.Name], found.Config.ID)
				}
			}
		}
		return users
	}
}
