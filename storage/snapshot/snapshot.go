// Package snapshot keeps the trees that instructions start from and leave
// behind: directories stacked by a storage driver, each the change that one
// layer makes. A tree is named by a key, its layer's chain ID or the step's key;
// once committed it never changes.
//
// A Store is one driver's trees for one id mapping. Prepare gives a new Active
// tree above a committed one, to be mounted or written to, and then committed
// or discarded. Unpack makes trees of packed layers. Tree and Changes read
// committed ones, without mounting. Records, which tell where a key's tree is
// and which blobs its layer was packed into, can be read anywhere; the trees
// only inside the user namespace.
//
// Nothing here waits for the disk. A tree counts in the boot in which it was
// made, and is dropped and made again after the next. A container's is another
// matter: Keep writes a marker by which it outlives the session and the boot, and
// Reopen lays it on a parent that was unpacked again.
package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/storage/layer"
)

// Driver is how trees are stacked.
type Driver string

// The drivers. Their names are those of the layer's flavors.
const (
	Fuse    = Driver(layer.Fuse)    // overlay by fuse-overlayfs
	Overlay = Driver(layer.Overlay) // the kernel's overlay in a user namespace
	VFS     = Driver(layer.VFS)     // a full copy for each tree
	Stacked = Driver(layer.Stacked) // what an overlay would stack, never mounted
)

// Options choose a driver root and how it is used.
type Options struct {
	Driver Driver
	// MountProgram is the path of fuse-overlayfs; only Fuse needs it.
	MountProgram string
	// Unmounted explains err, by which MountProgram has ended, by what it said; nil
	// leaves it as it is.
	Unmounted func(said []byte, err error) error
	// MappingKey names the user namespace's id mapping: files made in one are
	// of no use in another.
	MappingKey string
	// ExactOwners says that files can be given their true owners. Where only
	// one id is mapped, they are told by attributes and side records instead.
	ExactOwners bool
	// Unprivileged says that the process is an ordinary user without a user
	// namespace. Side records then tell what his files can't have, and every tree
	// keeps the owners, modes and attributes that the image gives it.
	Unprivileged bool
}

// Place is where the store keeps what a Store needs.
type Place struct {
	// Dir holds the driver roots.
	Dir string
	// Features remembers, until the next boot, what the kernel was found to
	// permit.
	Features string
	// StepLocks holds the steps' lock files.
	StepLocks string
	Records   *Records
	Journal   Journal
	// Session names the command that uses the store, for the markers of kept trees.
	Session string
}

// Journal hears of trees before they are made, so that those of a killed
// process can be found and removed. Trees are named by driver root and id.
type Journal interface {
	Making(root, id string) error
	Committing(root, id string, key Key) error
	Settled(root, id string)
}

// Store is the trees of one driver and id mapping. It may be used by several
// goroutines and processes at once.
type Store struct {
	name      string // of the driver root
	home      string // its path
	driver    driver
	flavor    layer.Flavor
	exact     bool
	recorded  bool // Options.Unprivileged
	boot      string
	records   *Records
	journal   Journal
	stepLocks string
	session   string
	// mountProgram and mapping are as in Options.
	mountProgram, mapping string

	mu     sync.Mutex
	stacks map[string][]string // a tree's directories by its id, the top one first
	lent   []*layer.Tree       // parents of what Changes gave last
}

// Open gives the trees of a driver and mapping. It must be called inside the
// user namespace. The first call of a boot for a driver tries out what the
// kernel permits, which takes up to a quarter of a second.
func Open(ctx context.Context, p Place, o Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	boot, err := bootid.Get()
	if err != nil {
		return nil, err
	}
	s := &Store{
		name:         string(o.Driver) + "-" + o.MappingKey,
		flavor:       layer.Flavor(o.Driver),
		exact:        o.ExactOwners,
		recorded:     o.Unprivileged,
		boot:         boot,
		records:      p.Records,
		journal:      p.Journal,
		stepLocks:    p.StepLocks,
		session:      p.Session,
		mountProgram: o.MountProgram, mapping: o.MappingKey,
		stacks: map[string][]string{},
	}
	s.home = filepath.Join(p.Dir, s.name)
	if err := os.MkdirAll(s.home, 0o700); err != nil {
		return nil, err
	}
	s.driver, err = newDriver(s.home, p.Features, o)
	return s, err
}

// Close waits until every mount that was ended is gone, and frees what Changes
// has cached.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := closeAll(s.lent)
	s.lent = nil
	return errors.Join(err, s.driver.close())
}

// Root is the name of the driver root, by which records refer to it.
func (s *Store) Root() string { return s.name }

// Mapping names the id mapping that files of s are made in.
func (s *Store) Mapping() string { return s.mapping }

// Driver is the driver that s uses.
func (s *Store) Driver() Driver { return Driver(s.flavor) }

// HasTree reports whether the tree of key is there. Scratch always is.
func (s *Store) HasTree(key Key) bool {
	_, err := s.locate(key)
	return err == nil
}

// Tree gives the merged view of a committed tree without mounting it, or
// ErrNotFound.
func (s *Store) Tree(key Key) (*layer.Tree, error) {
	id, err := s.locate(key)
	if err != nil {
		return nil, err
	}
	return s.view(id)
}

// locate gives the id of key's tree, "" for scratch, or ErrNotFound.
func (s *Store) locate(key Key) (string, error) {
	if key == "" {
		return "", nil
	}
	for rec := range s.records.aliases(key) {
		if id := s.usable(rec); id != "" {
			return id, nil
		}
	}
	return "", fmt.Errorf("tree %s: %w", key, ErrNotFound)
}

// usable gives the id of the tree that rec names in this driver root, "" if
// there is none or it doesn't count. One of another boot is dropped.
func (s *Store) usable(rec *Record) string {
	ref, ok := rec.Trees[s.name]
	if !ok {
		return ""
	}
	if !s.counts(ref) {
		s.drop(rec.Key, ref)
		return ""
	}
	return s.present(ref)
}

// counts reports whether a tree is of this boot.
func (s *Store) counts(ref TreeRef) bool { return ref.Counts(s.boot) }

// present gives the id of a tree whose directories are there, else "".
func (s *Store) present(ref TreeRef) string {
	if _, err := s.stack(ref.ID); err != nil {
		return ""
	}
	return ref.ID
}

// drop forgets a tree of another boot. The directory goes with the session: its
// removal can take long, and nothing waits for it. An error leaves the tree
// for the next to drop.
func (s *Store) drop(key Key, ref TreeRef) {
	if s.journal.Making(s.name, ref.ID) != nil {
		return
	}
	if err := s.records.DropTree(key, s.name, ref.ID); err != nil {
		s.journal.Settled(s.name, ref.ID)
	}
}

// stack gives the directories of a tree, the top one first, once it has made
// sure that they are there. Scratch has none.
func (s *Store) stack(id string) ([]string, error) {
	if id == "" {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if dirs, ok := s.stacks[id]; ok {
		return dirs, nil
	}
	dirs, err := s.driver.stack(id)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if _, err := os.Lstat(dir); err != nil {
			return nil, err
		}
	}
	s.stacks[id] = dirs
	return dirs, nil
}

// view gives the merged view of a tree by its id.
func (s *Store) view(id string) (*layer.Tree, error) {
	dirs, err := s.stack(id)
	if err != nil {
		return nil, err
	}
	return s.viewOf(dirs)
}

func (s *Store) viewOf(dirs []string) (*layer.Tree, error) {
	if s.exact {
		return layer.NewTree(dirs), nil
	}
	owners := make([]*layer.Owners, len(dirs))
	for i, dir := range dirs {
		var err error
		if owners[i], err = s.owners(s.driver.idOf(dir)); err != nil {
			return nil, err
		}
	}
	if s.recorded {
		return layer.NewRecordedTree(dirs, owners), nil
	}
	return layer.NewSingleIDTree(dirs, owners), nil
}

// remove removes a tree, or what there is of it.
func (s *Store) remove(id string) error {
	s.mu.Lock()
	delete(s.stacks, id)
	s.mu.Unlock()
	err := errors.Join(s.driver.wait(id), RemoveTree(filepath.Dir(s.home), s.name, id))
	if err == nil {
		s.journal.Settled(s.name, id)
	}
	return err
}

// Side files lie beside a tree under its id and one of these endings.
const (
	ownersFile = ".owners" // single-id mode: owners of what can't bear attributes
	baseFile   = ".base"   // vfs: inodes and times of what was copied
	// fuse-overlayfs: the boot in which a kept tree was last unmounted in order
	settledFile = ".settled"
)

// owners opens the side record of a tree.
func (s *Store) owners(id string) (*layer.Owners, error) {
	f, err := os.Open(filepath.Join(s.home, id+ownersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return layer.NewOwners(s.records.Dir()), nil
	}
	if err != nil {
		return nil, err
	}
	owners, err := layer.OpenOwners(f, s.records.Dir())
	return owners, ofOwners(id, err)
}

// checkOwners is an error where the side record of a tree is damaged.
func checkOwners(home, id string) error {
	f, err := os.Open(filepath.Join(home, id+ownersFile))
	if err != nil {
		return ignoreAbsent(err)
	}
	defer f.Close()
	return ofOwners(id, layer.CheckOwners(f))
}

func ofOwners(id string, err error) error {
	if err != nil {
		return fmt.Errorf("owners of tree %s: %w", id, err)
	}
	return nil
}

// inherited is what the side record of a tree above id begins with: a full copy
// has the files that the record is about, an upper directory the root alone.
func (s *Store) inherited(id string) (*layer.Owners, error) {
	if s.exact || id == "" {
		return layer.NewOwners(s.records.Dir()), nil
	}
	below, err := s.owners(id)
	if err != nil || s.flavor == layer.VFS {
		return below, err
	}
	owners, err := below.OfRoot()
	return owners, errors.Join(err, below.Close())
}

// saveOwners puts the side record beside the tree, whole or not at all.
func (s *Store) saveOwners(id string, owners *layer.Owners) (err error) {
	path := filepath.Join(s.home, id+ownersFile)
	if owners.Empty() {
		if owners.Unsaved() { // what it had is gone
			return ignoreAbsent(os.Remove(path))
		}
		return nil
	}
	if _, err := os.Lstat(path); err == nil && !owners.Unsaved() {
		return nil
	}
	f, err := os.CreateTemp(s.records.Dir(), atomicfile.Prefix+"owners-")
	if err != nil {
		return err
	}
	if err = errors.Join(owners.Write(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	owners.Saved()
	return nil
}

// publish records a finished tree under key. Where another process was first,
// its tree is used instead: then published gives that one's id, and the
// caller's is his to remove. from is what the tree was unpacked from, nil for one
// that wasn't.
func (s *Store) publish(key, parent Key, id string, from *PackedLayer) (published string, err error) {
	if err := key.Validate(); err != nil {
		return "", err
	}
	if err := s.journal.Committing(s.name, id, key); err != nil {
		return "", err
	}
	published = id
	err = s.records.update(key, func(rec *Record) error {
		old, ok := rec.Trees[s.name]
		if ok && s.counts(old) && s.present(old) != "" {
			published = old.ID
			return errNoChange
		}
		if ok {
			if err := s.journal.Making(s.name, old.ID); err != nil {
				return err
			}
		}
		rec.Parent = parent
		if from != nil {
			rec.From = from
		}
		if rec.Trees == nil {
			rec.Trees = map[string]TreeRef{}
		}
		rec.Trees[s.name] = TreeRef{ID: id, Boot: s.boot, Created: time.Now().UTC()}
		return nil
	})
	if err != nil {
		return "", err
	}
	if published == id {
		s.journal.Settled(s.name, id)
	}
	return published, nil
}

// newID names a tree. It tells nothing, so that trees of one key made at once
// don't meet.
func newID() string {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
