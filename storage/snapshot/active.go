package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// Active is a tree in the making, above a committed one. One worker at a time
// uses it, and ends it by Commit or Discard; a kept one by Release or Discard.
type Active struct {
	store    *Store
	id       string
	key      Key // of the parent
	parent   *layer.Tree
	writer   *layer.DirWriter
	owners   *layer.Owners
	unread   atomic.Pointer[error] // what reading owners failed with
	mounted  bool
	finished bool
	kept     bool   // the tree stays, and is the owner's
	owner    string // of a kept tree
}

// maxDepth is how many directories an overlay mount stacks: the kernel's limit,
// and containers/storage's for fuse-overlayfs.
const maxDepth = 500

// Prepare makes a new tree that is a copy of parent's until it is changed; ""
// starts from nothing. Parent's tree has to be there: ErrNotFound.
func (s *Store) Prepare(ctx context.Context, parent Key) (*Active, error) {
	parentID, err := s.locate(parent)
	if err != nil {
		return nil, err
	}
	below, err := s.view(parentID)
	if err != nil {
		return nil, err
	}
	if n := len(below.Dirs()); n >= maxDepth && s.flavor != layer.Stacked {
		return nil, fault.New("join instructions to make fewer layers, or use --storage-driver vfs",
			"the tree below has %d layers: overlay mounts stack at most %d", n, maxDepth)
	}
	owners, err := s.inherited(parentID)
	if err != nil {
		return nil, err
	}
	id, err := s.make(ctx, parentID)
	if err != nil {
		return nil, err
	}
	return &Active{store: s, id: id, key: parent, parent: below, owners: owners}, nil
}

// make makes a tree above another and gives its id.
func (s *Store) make(ctx context.Context, parentID string) (string, error) {
	id := newID()
	if err := s.journal.Making(s.name, id); err != nil {
		return "", err
	}
	if err := s.driver.create(ctx, id, parentID); err != nil {
		return "", errors.Join(fmt.Errorf("make a tree: %w", err), s.remove(id))
	}
	return id, nil
}

// Upper is the directory that holds what the tree changes; with vfs, the whole
// tree. It must not be written to while the tree is mounted.
func (a *Active) Upper() string { return a.store.driver.top(a.id) }

// Parent is the merged view of the tree below. Commit and Discard free the
// descriptors that it has cached.
func (a *Active) Parent() *layer.Tree { return a.parent }

// View is the merged view of the tree as it is now. It must not be used after
// the next change.
func (a *Active) View() (*layer.Tree, error) {
	dirs := []string{a.Upper()}
	if a.store.flavor != layer.VFS {
		dirs = append(dirs, a.parent.Dirs()...)
	}
	if a.writer != nil {
		if err := a.saveOwners(); err != nil {
			return nil, err
		}
	}
	return a.store.viewOf(dirs)
}

// Mount makes the tree a directory like any other, and gives its path.
func (a *Active) Mount(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := a.saveOwners(); err != nil {
		return "", err
	}
	if a.kept {
		if err := ignoreAbsent(os.Remove(filepath.Join(a.store.home, a.id+settledFile))); err != nil {
			return "", err
		}
	}
	// What an instruction syncs need not be synced: its tree counts in this boot.
	path, err := a.store.driver.mount(a.id, !a.kept)
	if err != nil {
		return "", fmt.Errorf("mount tree: %w", err)
	}
	a.mounted = true
	return path, nil
}

// Unmount ends Mount, with everything written to the upper directory. Nothing
// may be running in the tree. What the driver left in the upper directory that
// would harm the layers above is removed: after an error the tree is only good
// for Discard.
func (a *Active) Unmount(ctx context.Context) error {
	if !a.mounted {
		return nil
	}
	if err := a.store.driver.unmount(a.id); err != nil {
		return fmt.Errorf("unmount tree: %w", err)
	}
	a.mounted = false
	if err := layer.Settle(ctx, a.Upper(), a.parent, a.store.dirOptions(a.owners)); err != nil {
		return fmt.Errorf("unmounted tree: %w", err)
	}
	return nil
}

// Writer writes entries straight into the upper directory. The caller closes
// it before he mounts, commits, or reads the tree.
func (a *Active) Writer() *layer.DirWriter {
	a.writer = layer.NewDirWriter(a.Upper(), a.parent, a.store.dirOptions(a.owners))
	return a.writer
}

func (s *Store) dirOptions(owners *layer.Owners) layer.DirOptions {
	return layer.DirOptions{
		Flavor: s.flavor, ExactOwners: s.exact, Unprivileged: s.recorded, Owners: owners, Temp: s.records.Dir(),
	}
}

// Changes gives what stands in the layer. The tree must not change until it
// has been walked; Commit doesn't change it.
func (a *Active) Changes(ctx context.Context) (layer.Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := a.saveOwners(); err != nil {
		return nil, err
	}
	return a.store.changes(a.id, a.parent, ChangeOptions{})
}

// CheckNames finds names that no layer can hold, before the tree is recorded: a
// file called .wh.NAME means, in a layer, that NAME is deleted.
func (a *Active) CheckNames(ctx context.Context) error {
	return layer.CheckNames(ctx, a.Upper(), a.store.flavor)
}

// Commit records the tree under key, and ends it. Where another process has
// recorded a tree of that key meanwhile, this one is removed and the other
// counts: what was made of this one's Changes can't be read any more, but
// Store.Changes gives the same of the other.
func (a *Active) Commit(key Key) error {
	if a.finished || a.mounted || a.kept {
		return errors.New("commit of a tree that is mounted, kept or finished")
	}
	if err := a.saveOwners(); err != nil {
		return err
	}
	published, err := a.store.publish(key, a.key, a.id, nil)
	if err != nil {
		return fmt.Errorf("commit tree: %w", err)
	}
	a.finished = true
	err = a.free()
	if published == a.id {
		return err
	}
	err = errors.Join(err, a.store.remove(a.id))
	a.id = published
	return err
}

// Discard removes the tree, unmounting it first where it is mounted; of a kept one
// the marker too, also when the store is closed. After Commit or Release it does
// nothing.
func (a *Active) Discard() error {
	if a.finished {
		return nil
	}
	a.finished = true
	if a.kept {
		return a.discardKept()
	}
	// Cleaning up goes on where the caller's context has ended.
	err := a.Unmount(context.Background())
	return errors.Join(err, a.free(), a.store.remove(a.id))
}

// free frees what the tree holds besides its directories.
func (a *Active) free() error { return errors.Join(a.parent.Close(), a.owners.Close()) }

// NoteOwners puts on record who got files of the unmounted tree, where files can't
// be given their true owners.
func (a *Active) NoteOwners(files layer.SetOwners) error {
	if a.store.exact {
		return nil
	}
	if err := layer.FindOwners(a.Upper(), files, a.owners); err != nil {
		return err
	}
	return a.saveOwners()
}

// Temp is a directory on the store's disk for what doesn't fit into memory.
func (a *Active) Temp() string { return a.store.records.Dir() }

// RecordedOwner gives the owner that a link or special file has on record, here or in
// the tree below. Where a record can't be read there is none, and that of this tree
// can't be written either: that gives the error.
func (a *Active) RecordedOwner(path string) (layer.Owner, bool) {
	o, ok, err := a.recordedOwner(path)
	if err != nil {
		a.unread.CompareAndSwap(nil, &err)
	}
	return o, ok && err == nil
}

func (a *Active) recordedOwner(path string) (layer.Owner, bool, error) {
	o, ok, err := a.owners.Get(path)
	if ok || err != nil {
		return o, ok, ofOwners(a.id, err)
	}
	n, err := a.parent.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENAMETOOLONG): // a removed file's "name (deleted)"
		return layer.Owner{}, false, nil
	case err != nil:
		return layer.Owner{}, false, fmt.Errorf("owners of the tree below %s: %w", a.id, err)
	}
	return layer.Owner{UID: n.UID, GID: n.GID}, n.UID != 0 || n.GID != 0, nil
}

// saveOwners writes the side record that the writers have filled.
func (a *Active) saveOwners() error {
	if a.store.exact {
		return nil
	}
	if err := a.unread.Load(); err != nil {
		return *err
	}
	return a.store.saveOwners(a.id, a.owners)
}

// View mounts a tree for use, not for keeping: a fresh one above key's, whose
// changes end with Discard. It gives the path.
func (s *Store) View(ctx context.Context, key Key) (*Active, string, error) {
	a, err := s.Prepare(ctx, key)
	if err != nil {
		return nil, "", err
	}
	path, err := a.Mount(ctx)
	if err != nil {
		return nil, "", errors.Join(err, a.Discard())
	}
	return a, path, nil
}
