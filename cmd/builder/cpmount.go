package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/archive"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// mountRoot mounts the file system of a container that doesn't run, with its
// volumes, and opens its root directory.
func (k *keptFiles) mountRoot(ctx context.Context, write bool) (_ *archive.Root, closeRoot func() error, err error) {
	rootfs, err := k.tree.Mount(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mounted []string
	undo := func() error {
		var errs []error
		for _, place := range slices.Backward(mounted) {
			errs = append(errs, unix.Unmount(place, unix.MNT_DETACH))
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undo())
		}
	}()
	shown, err := k.volumes(ctx, rootfs)
	if err != nil {
		return nil, nil, err
	}
	if k.Config.Spec.ReadOnly && write {
		if err := mountOver(rootfs, rootfs, true); err != nil {
			return nil, nil, err
		}
		mounted = append(mounted, rootfs)
	}
	for _, m := range shown {
		place := filepath.Join(rootfs, m.Destination) // no link leads there, and nobody makes one now
		if _, err := os.Lstat(place); m.Type != "bind" || err != nil {
			continue
		}
		if err := mountOver(m.Source, place, slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro")); err != nil {
			return nil, nil, err
		}
		mounted = append(mounted, place)
	}
	root, err := archive.OpenRoot(rootfs)
	if err != nil {
		return nil, nil, err
	}
	return root, func() error { return errors.Join(root.Close(), undo()) }, nil
}

// volumes gives the container's mounts, with their places made. What was to be
// given to its user is his by now.
func (k *keptFiles) volumes(ctx context.Context, rootfs string) ([]sandbox.Mount, error) {
	config := k.Config
	config.Mounts = nil
	for _, m := range k.Config.Mounts {
		if m.Type != container.MountTmpfs { // which ends with the programs
			m.Chown = false
			config.Mounts = append(config.Mounts, m)
		}
	}
	if len(config.Mounts) == 0 {
		return nil, nil
	}
	w := &watched{host: k.host, tree: k.tree}
	_, shown, err := w.readyMounts(ctx, config, nil, rootfs)
	return shown, err
}

func mountOver(source, place string, readOnly bool) error {
	if err := unix.Mount(source, place, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "mount", Path: place, Err: err}
	}
	if !readOnly {
		return nil
	}
	err := unix.Mount("", place, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	if err != nil {
		return &os.PathError{Op: "mount read-only", Path: place, Err: err}
	}
	return nil
}
