package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/doctor/checks"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/snapshot"
)

// openSnapshots opens the trees of the driver that the user names, or else of
// the best that can be had, and tells if that isn't the default.
func (h *host) openSnapshots(c *cli.Context) (*snapshot.Store, error) {
	tried, err := candidates(h.store, h.mapping, c.String(flagDriver))
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, driver := range tried.drivers {
		trees, err := h.store.Snapshots(c.Context, h.treeOptions(driver, tried.fuse))
		if err == nil {
			if tried.lack != nil {
				tell(c.App.ErrWriter, driverNotice(driver, tried.lack))
			}
			return trees, nil
		}
		errs = append(errs, h.explainDriver(driver, err))
	}
	return nil, errors.Join(errs...)
}

// explainDriver finds the cause of err, which opening the trees of a driver has come
// to.
func (h *host) explainDriver(driver snapshot.Driver, err error) error {
	if driver != snapshot.Overlay {
		return err
	}
	if refused := probeNative(h.store); refused != nil {
		return doctor.Overlay(refused, h.store.Root())
	}
	return err
}

func (h *host) treeOptions(driver snapshot.Driver, fuse string) snapshot.Options {
	return snapshot.Options{
		Driver: driver, MountProgram: fuse, MappingKey: h.mapping.Key(),
		ExactOwners: h.mapping.Exact(), Unprivileged: h.mapping.Kind == userns.KindOwn,
		Unmounted: func(said []byte, err error) error { return doctor.FuseProgram(fuse, doctor.Said(said, err)) },
	}
}

// treesBy gives the trees of a driver beside those that are open, once for each.
func (h *host) treesBy(c *cli.Context) func(snapshot.Driver) (*snapshot.Store, error) {
	known := map[snapshot.Driver]*snapshot.Store{h.snapshots.Driver(): h.snapshots}
	return func(driver snapshot.Driver) (*snapshot.Store, error) {
		if trees, ok := known[driver]; ok {
			return trees, nil
		}
		tried, err := candidates(h.store, h.mapping, string(driver))
		if err != nil {
			return nil, err
		}
		trees, err := h.store.Snapshots(c.Context, h.treeOptions(driver, tried.fuse))
		if err != nil {
			return nil, h.explainDriver(driver, err)
		}
		known[driver] = trees
		return trees, nil
	}
}

// driverNotice tells that a build goes on with another driver than the default.
func driverNotice(driver snapshot.Driver, lack error) error {
	return fault.New(fmt.Sprintf("%s\nor choose it, and this isn't told: --%s %s", fault.Remedy(lack), flagDriver, driver),
		"going on with the storage driver %s: %w", driver, lack)
}

// drivers are those to try.
type drivers struct {
	drivers []snapshot.Driver // best first
	fuse    string            // path of fuse-overlayfs where that is one of them
	lack    error             // why the default, which is fuse-overlayfs, isn't
}

// candidates gives the drivers to try for what the user has named, "" for
// nothing. An ordinary user runs nothing without a user namespace, so that his trees
// needn't be whole in one place.
func candidates(store *storage.Store, m userns.Mapping, name string) (drivers, error) {
	if stacked := snapshot.Driver(name); m.Kind == userns.KindOwn && (stacked == "" || stacked == snapshot.Stacked) {
		return drivers{drivers: []snapshot.Driver{snapshot.Stacked}}, nil
	}
	if snapshot.Driver(name) == snapshot.Stacked {
		return drivers{}, fault.New("choose fuse-overlayfs, overlay or vfs\nor for a container that was made without a user namespace: remove it, and make it again",
			"the storage driver stacked can't be used in a user namespace")
	}
	if err := checkDriver(name); err != nil {
		return drivers{}, err
	}
	if !userns.MountNamespace() {
		return unmounted(name)
	}
	switch driver := snapshot.Driver(name); driver {
	case snapshot.Overlay, snapshot.VFS:
		return drivers{drivers: []snapshot.Driver{driver}}, nil
	}
	fuse, missing := doctor.Fuse()
	if missing == nil {
		missing = probeFuse(store)
	}
	if missing != nil && name == "" {
		return drivers{drivers: []snapshot.Driver{snapshot.Overlay, snapshot.VFS}, lack: missing}, nil
	}
	return drivers{drivers: []snapshot.Driver{snapshot.Fuse}, fuse: fuse}, missing
}

// unmounted is candidates for a process that may mount nothing.
func unmounted(name string) (drivers, error) {
	switch snapshot.Driver(name) {
	case "", snapshot.VFS:
		return drivers{drivers: []snapshot.Driver{snapshot.VFS}}, nil
	}
	lack := userns.Lack()
	if lack == nil {
		lack = fault.New("choose vfs", "there is no mount namespace")
	}
	return drivers{}, fault.New(lack.Remedy, "the storage driver %s mounts trees, which can't be done here: %w", name, lack)
}

// probeFuse tells why the kernel doesn't let FUSE be mounted, though there is
// /dev/fuse; nil where it does. Nobody serves the mount, which takes a fraction
// of a millisecond.
func probeFuse(store *storage.Store) error {
	dirs, err := probeDirs(store, "fuse")
	if err != nil {
		return err
	}
	if err := checks.TryFuse(dirs[0]); err != nil {
		return doctor.FuseMount(err)
	}
	return nil
}

// probeNative tells why the kernel's overlay can't be mounted and used in the store;
// nil where it can.
func probeNative(store *storage.Store) error {
	dirs, err := probeDirs(store, "overlay")
	if err != nil {
		return err
	}
	return checks.TryOverlay(dirs[0])
}

// probeDirs makes directories that end with the session.
func probeDirs(store *storage.Store, names ...string) ([]string, error) {
	session, err := store.Session()
	if err != nil {
		return nil, err
	}
	temp, err := session.TempDir()
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(names))
	for i, name := range names {
		dirs[i] = filepath.Join(temp, "probe-"+name)
		if err := os.Mkdir(dirs[i], 0o700); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}
