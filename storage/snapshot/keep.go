package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// MissingParentError says that the tree which a kept one stands on isn't there:
// after a reboot none counts. When it has been unpacked again, the kept one is laid
// on it.
type MissingParentError struct {
	Owner string
	// Parent is the key of the tree that is missing.
	Parent Key
}

func (e *MissingParentError) Error() string {
	return fmt.Sprintf("the tree of %s stands on %s, which isn't unpacked", e.Owner, e.Parent)
}

// Keep lets the tree outlive the session: from here on it is the owner's, whose
// directory the caller makes before he closes the store. It isn't committed any
// more. What is written to it is for keeping too: instructions' own syncs count
// again, so Keep comes before Mount.
func (a *Active) Keep(owner string) error {
	if a.finished || a.mounted || a.kept {
		return errors.New("keep of a tree that is mounted, kept or finished")
	}
	if !isOwner(owner) {
		return fmt.Errorf("%q can't own a tree", owner)
	}
	s := a.store
	dir := filepath.Dir(s.home)
	if _, err := os.Lstat(filepath.Join(KeptDir(dir), owner)); err == nil {
		return fmt.Errorf("%s has a tree already: %w", owner, fs.ErrExist)
	}
	if err := a.saveOwners(); err != nil {
		return err
	}
	k := &Kept{Owner: owner, Root: s.name, ID: a.id, Parent: a.key, Session: s.session, Boot: s.boot}
	if err := k.save(dir); err != nil {
		return fmt.Errorf("keep the tree of %s: %w", owner, err)
	}
	a.kept, a.owner = true, owner
	s.journal.Settled(s.name, a.id)
	return nil
}

// Release ends the use of a kept tree, which stays: it is unmounted, and what the
// driver has left in it that would do harm is removed. The store may be closed by
// then. Nothing may be running in the tree.
func (a *Active) Release() error {
	if a.finished {
		return nil
	}
	if !a.kept {
		return errors.New("release of a tree that isn't kept")
	}
	a.finished = true
	err := a.Unmount(context.Background())
	err = errors.Join(err, a.store.driver.wait(a.id))
	if err == nil {
		a.store.noteSettled(a.id)
	}
	// The record of owners stays open: NoteOwners may come now.
	return errors.Join(err, a.parent.Close())
}

// discardKept removes a kept tree and its marker. Nobody asks whether it could be
// unmounted in order: nothing of it is read any more.
func (a *Active) discardKept() error {
	var err error
	if a.mounted {
		err = a.store.driver.drop(a.id)
		a.mounted = false
	}
	return errors.Join(err, a.free(), a.store.RemoveKept(a.owner))
}

// Sync sees to it that everything which was written to the mounted tree is in its
// upper directory. It says nothing of the disk.
func (a *Active) Sync() error {
	if !a.mounted {
		return nil
	}
	return a.store.driver.sync(a.id)
}

// Reopen gives the kept tree of an owner, not mounted, or ErrNotFound. Nobody may
// be using it. Where the tree below has to be unpacked first the error is a
// *MissingParentError; where that was unpacked again since, this one is laid on it.
func (s *Store) Reopen(ctx context.Context, owner string) (*Active, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k, below, err := s.kept(owner)
	if err != nil {
		return nil, err
	}
	owners, err := s.owners(k.ID)
	if err != nil {
		return nil, err
	}
	a := &Active{store: s, id: k.ID, key: k.Parent, parent: below, owners: owners, kept: true, owner: owner}
	if s.settled(k.ID) {
		return a, nil
	}
	// Whoever had it mounted was killed.
	if err := layer.Settle(ctx, a.Upper(), below, s.dirOptions(owners)); err != nil {
		return nil, errors.Join(err, below.Close())
	}
	s.noteSettled(k.ID)
	return a, nil
}

// kept gives the marker of an owner's tree, and the view of what that stands on.
func (s *Store) kept(owner string) (*Kept, *layer.Tree, error) {
	k, err := ReadKept(filepath.Dir(s.home), owner)
	if err != nil {
		return nil, nil, err
	}
	if k.Root != s.name {
		return nil, nil, fault.New("use the one that it was made with: --storage-driver "+string(DriverOf(k.Root)),
			"the tree of %s is in %s, and this is %s", owner, k.Root, s.name)
	}
	if _, err := os.Lstat(s.driver.top(k.ID)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("tree of %s: %w", owner, ErrNotFound), err)
	}
	below, err := s.below(k)
	return k, below, err
}

// below gives the view of what a kept tree stands on, and lays it on another one
// first where the one that it was made upon doesn't count any more.
func (s *Store) below(k *Kept) (*layer.Tree, error) {
	if k.Boot == s.boot {
		if dirs, err := s.stack(k.ID); err == nil && s.flavor != layer.VFS {
			return s.viewOf(dirs[1:])
		}
	}
	id, err := s.locate(k.Parent)
	if errors.Is(err, ErrNotFound) {
		return nil, &MissingParentError{Owner: k.Owner, Parent: k.Parent}
	}
	if err != nil {
		return nil, err
	}
	if err := s.relay(k, id); err != nil {
		return nil, fmt.Errorf("lay the tree of %s on %s: %w", k.Owner, k.Parent, err)
	}
	return s.view(id)
}

// relay lays a kept tree on another one below. Whoever is killed meanwhile leaves
// a marker of the old boot, or a tree that isn't whole, and the next does it again.
func (s *Store) relay(k *Kept, parentID string) error {
	if s.flavor == layer.VFS && k.Boot == s.boot {
		return nil
	}
	s.mu.Lock()
	delete(s.stacks, k.ID)
	s.mu.Unlock()
	if err := s.driver.relay(k.ID, parentID); err != nil {
		return err
	}
	if k.Boot == s.boot {
		return nil
	}
	k.Boot = s.boot
	return k.save(filepath.Dir(s.home))
}

// RemoveKept removes the kept tree of an owner and its marker, also from another
// driver root than this one. Nobody may be using it. Where there is none it does
// nothing.
func (s *Store) RemoveKept(owner string) error {
	dir := filepath.Dir(s.home)
	if k, err := ReadKept(dir, owner); err == nil && k.Root == s.name {
		s.mu.Lock()
		delete(s.stacks, k.ID)
		s.mu.Unlock()
	}
	return RemoveKept(dir, owner)
}

// KeptTree is the merged view of an owner's kept tree, as it is now: another
// process may be changing it. The caller closes it. Errors are those of Reopen.
func (s *Store) KeptTree(owner string) (*layer.Tree, error) {
	k, below, err := s.kept(owner)
	if err != nil {
		return nil, err
	}
	dirs := []string{s.driver.top(k.ID)}
	if s.flavor != layer.VFS {
		dirs = append(dirs, below.Dirs()...)
	}
	return s.viewOf(dirs)
}

// settled reports whether a kept tree was unmounted in order, in this boot.
func (s *Store) settled(id string) bool {
	boot, err := os.ReadFile(filepath.Join(s.home, id+settledFile))
	return err == nil && string(boot) == s.boot
}

// noteSettled notes that a kept tree was unmounted in order. Without the note that
// is done once more.
func (s *Store) noteSettled(id string) {
	if s.flavor == layer.Fuse { // the others leave nothing
		_ = os.WriteFile(filepath.Join(s.home, id+settledFile), []byte(s.boot), 0o600)
	}
}
