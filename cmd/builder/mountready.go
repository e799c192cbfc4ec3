package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/mountspec"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/volume"
)

// mountPlace is the container that mounts are made ready for. Nothing runs in it.
type mountPlace struct {
	volumes  map[string]struct{} // what its image declares by VOLUME
	uid, gid uint32              // whom its program runs as
	rootfs   string              // where its tree is mounted; "" while it isn't
	tree     *layer.Tree         // and how it lies on the disk
}

// readyMounts makes everything ready that a container is to see beside its image:
// the volumes that were asked for, and one for each that the image declares and
// nothing else is mounted over. New volumes are filled, mount points are made, and
// places are resolved inside the root alone, however the image has laid its links.
// ready is what the container's configuration is to say; with it the same can be
// called at the next start. No volume is removed until the store is closed. After
// an error none is left that nobody has named.
func (h *host) readyMounts(ctx context.Context, mounts []container.Mount, at mountPlace) (ready []container.Mount, shown []sandbox.Mount, err error) {
	if err := h.store.HoldVolumes(ctx); err != nil {
		return nil, nil, err
	}
	r := mountReadier{h: h, at: at}
	defer func() {
		if err != nil {
			h.store.ReleaseVolumes()
			err = errors.Join(err, h.removeVolumes(context.WithoutCancel(ctx), r.made))
		}
	}()
	if err := r.addAll(mounts); err != nil {
		return nil, nil, err
	}
	// What others lie within comes before them.
	slices.SortStableFunc(r.mounts, func(a, b readyMount) int {
		return depth(a.place) - depth(b.place)
	})
	for i := range r.mounts {
		if err := r.ready(ctx, &r.mounts[i]); err != nil {
			return nil, nil, fault.At("mount "+r.mounts[i].Destination, err)
		}
		ready, shown = append(ready, r.mounts[i].Mount), append(shown, r.mounts[i].shown())
	}
	return ready, shown, nil
}

// depth tells how far a clean path is from the root.
func depth(path string) int { return strings.Count(path, "/") }

// readyMounts is readyMounts of the container that is watched. rootfs is where its tree
// is mounted, "" before it is: then there are no mount points.
func (w *watched) readyMounts(ctx context.Context, config container.Config, volumes map[string]struct{}, rootfs string) (ready []container.Mount, shown []sandbox.Mount, err error) {
	if len(config.Mounts)+len(volumes) == 0 {
		return nil, nil, nil
	}
	tree, err := w.tree.View()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	return w.host.readyMounts(ctx, config.Mounts, mountPlace{
		volumes: volumes, uid: config.Spec.UID, gid: config.Spec.GID, rootfs: rootfs, tree: tree,
	})
}

// readyMount is a mount with its place, in which there is no link.
type readyMount struct {
	container.Mount
	place string
	file  bool // what is shown is one
}

// mountReadier makes the mounts of one container ready.
type mountReadier struct {
	h      *host
	at     mountPlace
	mounts []readyMount
	made   []string // volumes that have been made and that nobody has named
}

// maxVolumes is how many volumes an image can have made.
const maxVolumes = 1000

// addAll adds mounts, and the image's volumes where nothing is mounted.
func (r *mountReadier) addAll(mounts []container.Mount) error {
	// What others lie within is resolved before them.
	for _, m := range slices.SortedStableFunc(slices.Values(mounts), func(a, b container.Mount) int {
		return depth(a.Destination) - depth(b.Destination)
	}) {
		if _, err := r.add(m); err != nil {
			return err
		}
	}
	if len(r.at.volumes) > maxVolumes {
		return fmt.Errorf("the image declares %d volumes; %d is the most", len(r.at.volumes), maxVolumes)
	}
	declared := make([]string, 0, len(r.at.volumes))
	for place := range r.at.volumes {
		declared = append(declared, path.Join("/", place))
	}
	slices.Sort(declared)
	for _, place := range slices.Compact(declared) {
		m := container.Mount{Type: container.MountVolume, Anonymous: true, Destination: place}
		if slices.ContainsFunc(mounts, func(asked container.Mount) bool { return asked.Destination == place }) {
			continue
		}
		if _, err := r.add(m); err != nil {
			return fault.At("the image's VOLUME "+place, err)
		}
	}
	return nil
}

// add resolves a mount's place, and adds it unless another one lies there already.
func (r *mountReadier) add(m container.Mount) (bool, error) {
	place, err := r.resolve(m.Destination)
	if err != nil {
		return false, err
	}
	for _, known := range r.mounts {
		if known.place != place {
			continue
		}
		if m.Anonymous {
			return false, nil
		}
		return false, fault.New("name each place once", "Duplicate mount point: %s and %s are one place in the image", known.Destination, m.Destination)
	}
	r.mounts = append(r.mounts, readyMount{Mount: m, place: place})
	return true, nil
}

// resolve gives the path that a place has once all links are followed, inside the
// root alone. What lies within another mount is the runtime's to resolve: it sees
// what is there then, and leaves the root as little.
func (r *mountReadier) resolve(place string) (string, error) {
	resolved, err := r.at.tree.Resolve(strings.TrimPrefix(place, "/"), true)
	if err != nil {
		return "", err
	}
	for _, known := range r.mounts {
		if rest, within := strings.CutPrefix(place, known.Destination+"/"); within {
			resolved = strings.TrimPrefix(path.Join(known.place, rest), "/")
		}
	}
	switch {
	case resolved == "":
		return "", fmt.Errorf("%s is the root directory in the image, over which nothing can be mounted", place)
	case resolved == "proc" || strings.HasPrefix(resolved, "proc/"):
		return "", fmt.Errorf("%q cannot be mounted because it is inside /proc", place)
	}
	return "/" + resolved, nil
}

// ready makes one mount ready.
func (r *mountReadier) ready(ctx context.Context, m *readyMount) error {
	switch m.Type {
	case container.MountVolume:
		if err := r.readyVolume(ctx, m); err != nil {
			return err
		}
	case container.MountBind:
		dir, err := readySource(m.Source)
		if err != nil {
			return err
		}
		m.file = !dir
		if err := checkNotRecursive(m.Mount); err != nil {
			return err
		}
	}
	if m.Chown {
		if err := chownAll(ctx, m.Source, r.at.uid, r.at.gid); err != nil {
			return err
		}
	}
	if r.at.rootfs == "" {
		return nil
	}
	if m.Type == container.MountTmpfs {
		r.readyMemory(m)
	}
	return r.makePoint(m)
}

// readyMemory gives what is in memory a mode, where none was asked for: that of what
// the image has there, or what everybody may write to, as docker has it.
func (r *mountReadier) readyMemory(m *readyMount) {
	if slices.ContainsFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, modeOption) }) {
		return
	}
	mode := int64(0o1777)
	if n, err := r.at.tree.Lstat(strings.TrimPrefix(m.place, "/")); err == nil && n.Type == layer.TypeDir {
		mode = n.Mode
	}
	m.Options = append(slices.Clone(m.Options), fmt.Sprintf("%s%o", modeOption, mode))
}

// readyVolume finds or makes a volume, and fills it with what the image has in its
// place, if that is still to be done.
func (r *mountReadier) readyVolume(ctx context.Context, m *readyMount) error {
	volumes := r.h.store.Volumes()
	v, err := r.findOrMake(ctx, m.Name)
	if err != nil {
		return err
	}
	m.Name, m.Source = v.Name, volumes.Data(v.Name)
	fill, err := r.filling(ctx, m.place)
	if err != nil {
		return err
	}
	if m.NoCopy {
		fill = nil
	}
	m.NoCopy = true // once is enough
	return volumes.Ready(ctx, v.Name, fill)
}

// findOrMake gives the volume of a name, or a new one without.
func (r *mountReadier) findOrMake(ctx context.Context, name string) (volume.Volume, error) {
	if name != "" {
		return r.h.store.Volumes().Create(ctx, name, nil)
	}
	v, err := r.h.store.Volumes().CreateFor(ctx)
	if err == nil {
		r.made = append(r.made, v.Name)
	}
	return v, err
}

// filling copies what the image has at a place, nil where that is nothing.
func (r *mountReadier) filling(ctx context.Context, place string) (func(dir string) error, error) {
	at := strings.TrimPrefix(place, "/")
	n, err := r.at.tree.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case n.Type != layer.TypeDir:
		return nil, fault.New("mount it elsewhere", "cannot mount volume over existing file, file exists %s", place)
	}
	return func(dir string) error { return layer.CopyOut(ctx, dir, r.at.tree, at, r.h.mapping.Exact()) }, nil
}

// readySource sees that the host has something to show, as docker does: where it
// has nothing, a directory is made. It tells whether it is one.
func readySource(source string) (dir bool, err error) {
	info, err := os.Stat(source)
	if err == nil {
		return info.IsDir(), nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(source, 0o755)
	}
	if err != nil {
		return false, fault.New("show a directory that you can use, or a volume: -v NAME:/PATH",
			"error while creating mount source path '%s': %w", source, err)
	}
	return true, nil
}

// checkNotRecursive refuses to leave out what is mounted below a directory: the kernel
// has what comes from another user namespace stay together, and crun gives in silently.
func checkNotRecursive(m container.Mount) error {
	if !slices.Contains(m.Options, mountspec.NonRecursive) {
		return nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if errors.Is(err, unix.EINVAL) {
		return fault.New("leave bind-nonrecursive out", "what is mounted below %s can't be left out: a user namespace keeps them together", m.Source)
	}
	if err != nil {
		return nil // the runtime finds out
	}
	return unix.Close(fd)
}

// systemPlaces are what the sandbox mounts itself, before all else.
var systemPlaces = []string{"/dev", "/sys"}

// makePoint makes what a mount covers where there is nothing: in the image, or in
// what another mount shows there. It does as the runtime would, but for the mode:
// runc gives what is in memory that of what lies below.
func (r *mountReadier) makePoint(m *readyMount) error {
	place, dir, perm := m.place, !m.file, os.FileMode(0o755)
	if m.Type == container.MountTmpfs {
		perm = m.mode()
	}
	within, point := r.at.rootfs, strings.TrimPrefix(place, "/")
	for _, system := range systemPlaces {
		if strings.HasPrefix(place, system+"/") {
			within = ""
		}
	}
	for _, other := range r.mounts { // the innermost comes last
		if rest, below := strings.CutPrefix(place, other.place+"/"); below {
			within, point = other.Source, rest
		}
	}
	if within == "" { // which isn't mounted yet
		return nil
	}
	root, err := os.OpenRoot(within)
	if err != nil {
		return err
	}
	defer root.Close()
	// Whatever umask the caller has, others than root shall get in.
	defer unix.Umask(unix.Umask(0o022))
	if err = pointIn(root, point, dir, perm); err != nil && within != r.at.rootfs {
		return nil // links may lead on from there, where only the runtime sees what is what
	}
	return err
}

// pointIn makes a mount point below root, which no link leads out of. A directory gets
// the permissions.
func pointIn(root *os.Root, point string, dir bool, perm os.FileMode) error {
	info, err := root.Stat(point)
	switch {
	case err == nil && info.IsDir() != dir:
		return fault.New("mount a directory on a directory, and a file on a file",
			"not a directory: a directory and a file can't be mounted over each other")
	case err == nil, !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := root.MkdirAll(path.Dir(point), 0o755); err != nil {
		return err
	}
	if dir {
		return errors.Join(root.Mkdir(point, 0o755), root.Chmod(point, perm))
	}
	f, err := root.OpenFile(point, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
