package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	graphdriver "github.com/containers/storage/drivers"
	"github.com/containers/storage/drivers/overlay"
	"github.com/containers/storage/drivers/vfs"
	"github.com/containers/storage/pkg/idtools"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/owner"
	"github.com/builder-oci/builder/storage/layer"
)

// driver makes, stacks and mounts trees. Trees are named by ids; "" is scratch.
type driver interface {
	// create makes a tree that is a copy of parent until it is changed.
	create(ctx context.Context, id, parent string) error
	// top is the directory in which a tree's own changes are.
	top(id string) string
	// idOf is the other way round.
	idOf(top string) string
	// stack gives the directories that make up a tree, the top one first.
	stack(id string) ([]string, error)
	// mount gives a tree's path. What is written to a volatile mount needn't be
	// synced by anybody.
	mount(id string, volatile bool) (string, error)
	// sync has everything that was written to a mounted tree in its top.
	sync(id string) error
	// relay lays a tree, of which nothing is mounted, on another parent with the
	// same content.
	relay(id, parent string) error
	// unmount ends mount: everything is in the tree's top then. The mount itself
	// may take its time to vanish; wait waits for that, and remove needs it.
	unmount(id string) error
	wait(id string) error
	// drop takes the mount of a tree away that is going to be removed.
	drop(id string) error
	close() error
	changes(id string, parent *layer.Tree, o layer.UpperOptions) (layer.Source, error)
}

func newDriver(home, features string, o Options) (driver, error) {
	switch o.Driver {
	case Fuse, Overlay:
		return newOverlay(home, features, o)
	case VFS:
		d, err := vfs.Init(home, graphdriver.Options{Root: home, RunRoot: features})
		if err != nil {
			return nil, fmt.Errorf("open driver vfs: %w", err)
		}
		return &vfsDriver{home: home, storage: d, options: vfsOptions(o)}, nil
	case Stacked:
		return &stackedDriver{home}, nil
	}
	return nil, fault.New("choose fuse-overlayfs, overlay or vfs", "unknown storage driver %q", o.Driver)
}

// overlayDriver is containers/storage's driver, with fuse-overlayfs or without.
// Its whole store isn't used, nor its diff and apply: they lock out other
// commands for minutes, walk both trees, and make up parent directories.
type overlayDriver struct {
	home    string
	fuse    bool
	explain func(said []byte, err error) error // Options.Unmounted
	storage graphdriver.Driver
	leaving leaving
}

func newOverlay(home, features string, o Options) (driver, error) {
	if strings.ContainsAny(home, ":,\\") {
		return nil, fault.New("choose a store without them with --root",
			"overlay mounts can't take a path with a colon, comma or backslash: %s", home)
	}
	// builder has mounts of its own namespace only: there is no need to make the
	// root one of its own.
	driverOptions := []string{"overlay.skip_mount_home=true"}
	if o.Driver == Fuse {
		driverOptions = append(driverOptions, "overlay.mount_program="+o.MountProgram)
	} else if err := probeNative(home, features); err != nil {
		return nil, err
	}
	d, err := overlay.Init(home, graphdriver.Options{Root: home, RunRoot: features, DriverOptions: driverOptions})
	if err != nil {
		return nil, fmt.Errorf("open driver %s: %w", o.Driver, err)
	}
	return &overlayDriver{home: home, fuse: o.Driver == Fuse, explain: o.Unmounted, storage: d}, nil
}

// probeNative asks whether the kernel lets overlay be mounted here. Left to
// itself, Init would take any fuse-overlayfs instead, and mix what the two
// write in one root.
func probeNative(home, features string) error {
	features = filepath.Join(features, filepath.Base(home))
	if err := os.MkdirAll(features, 0o700); err != nil {
		return err
	}
	ok, err := overlay.SupportsNativeOverlay(home, features)
	if ok && err == nil {
		return nil
	}
	if err == nil {
		reason, _ := os.ReadFile(filepath.Join(features, "overlay-false"))
		err = errors.New(strings.TrimSpace(string(reason)))
	}
	// The user may change what stood in the way: a refusal isn't remembered.
	_ = os.Remove(filepath.Join(features, "overlay-false"))
	return fault.New("use --storage-driver fuse-overlayfs, or vfs",
		"the kernel doesn't permit overlay mounts at %s in a user namespace: %w", home, err)
}

func (d *overlayDriver) create(_ context.Context, id, parent string) error {
	if err := d.storage.CreateReadWrite(id, parent, nil); err != nil {
		return err
	}
	if err := giveCaller(filepath.Join(d.home, id)); err != nil {
		return err
	}
	if parent != "" {
		return copyAttributes(d.top(id), d.top(parent))
	}
	// The driver's own default keeps everybody from writing, root included.
	return os.Chmod(d.top(id), 0o755)
}

// giveCaller gives a directory around trees, which drivers make root's, to whom
// the store's other files belong: he looks into it from outside.
func giveCaller(dir string) error {
	uid, gid := owner.IDs()
	if uid == 0 && gid == 0 {
		return nil
	}
	return os.Lchown(dir, uid, gid)
}

func (d *overlayDriver) top(id string) string { return filepath.Join(d.home, id, "diff") }

func (d *overlayDriver) idOf(top string) string { return filepath.Base(filepath.Dir(top)) }

func (d *overlayDriver) stack(id string) ([]string, error) {
	ids, err := overlayStack(d.home, id)
	if err != nil {
		return nil, err
	}
	return tops(d, ids), nil
}

// tops gives the directory of each tree.
func tops(d driver, ids []string) []string {
	dirs := make([]string, len(ids))
	for i, id := range ids {
		dirs[i] = d.top(id)
	}
	return dirs
}

func (d *overlayDriver) changes(id string, parent *layer.Tree, o layer.UpperOptions) (layer.Source, error) {
	return layer.Upper(d.top(id), parent, o), nil
}

// vfsDriver is containers/storage's vfs, but for the copying: that is ours, as
// it has to note what it copied.
type vfsDriver struct {
	home    string
	storage graphdriver.Driver
	options *graphdriver.CreateOpts // of every tree
}

// vfsOptions has the driver give an ordinary user's trees to him, not to root.
func vfsOptions(o Options) *graphdriver.CreateOpts {
	if !o.Unprivileged {
		return nil
	}
	uid, gid := owner.IDs()
	return &graphdriver.CreateOpts{IDMappings: idtools.NewIDMappingsFromMaps(
		[]idtools.IDMap{{HostID: uid, Size: 1}}, []idtools.IDMap{{HostID: gid, Size: 1}})}
}

func (d *vfsDriver) create(ctx context.Context, id, parent string) error {
	if err := d.storage.CreateReadWrite(id, "", d.options); err != nil {
		return err
	}
	if err := giveCaller(filepath.Join(d.home, vfsDir)); err != nil {
		return err
	}
	if err := os.Chmod(d.top(id), 0o755); err != nil {
		return err
	}
	note := filepath.Join(d.home, id+baseFile)
	var err error
	if parent == "" {
		_, err = layer.NoteBase(ctx, d.top(id), note)
	} else {
		_, err = layer.CopyTree(ctx, d.top(id), d.top(parent), note)
	}
	return err
}

func (d *vfsDriver) top(id string) string { return filepath.Join(d.home, "dir", id) }

func (d *vfsDriver) idOf(top string) string { return filepath.Base(top) }

// stack doesn't know a tree without the note of what was copied: what it changes
// can't be told any more.
func (d *vfsDriver) stack(id string) ([]string, error) {
	_, err := os.Lstat(filepath.Join(d.home, id+baseFile))
	return []string{d.top(id)}, err
}

func (d *vfsDriver) sync(string) error { return nil }

func (d *vfsDriver) relay(string, string) error { return nil }

func (d *vfsDriver) mount(id string, _ bool) (string, error) {
	return d.storage.Get(id, graphdriver.MountOpts{})
}

func (d *vfsDriver) unmount(id string) error { return d.storage.Put(id) }

func (d *vfsDriver) wait(string) error { return nil }

func (d *vfsDriver) drop(id string) error { return d.unmount(id) }

func (d *vfsDriver) close() error { return nil }

func (d *vfsDriver) changes(id string, parent *layer.Tree, o layer.UpperOptions) (layer.Source, error) {
	base, err := layer.LoadBase(filepath.Join(d.home, id+baseFile))
	if err != nil {
		return nil, err
	}
	return layer.Compare(d.top(id), base, parent, o), nil
}
