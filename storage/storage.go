// Package storage opens the store: the one directory that holds everything
// builder keeps, and the only thing that its commands share. A command opens
// it, works through the rooms that the Store hands out (layout for images,
// snapshot for trees, cache for steps), and closes it.
//
// docs/format.md specifies every file; the package comment of storage/lock
// gives the order of the locks.
package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/owner"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/lease"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// formatVersion is the content of the store's version file. It grows when an
// older builder could misread, or harm, what a newer one wrote.
const formatVersion = "1\n"

// ErrNoStore is behind the error of Open with NoCreate where there is none.
var ErrNoStore = errors.New("no store")

// Options say which store is opened.
type Options struct {
	// Root is the store's directory, "" for DefaultRoot.
	Root string
	// RunDir is for what need not outlive a boot, "" for DefaultRunDir.
	RunDir string
	// NoCreate makes a missing store an error (ErrNoStore).
	NoCreate bool
}

// Store is an open store. It may be used by several goroutines at once. While
// it is open no clean-up can take away what its holder found in it; so a
// process that starts another and only waits for it closes its own first.
type Store struct {
	root, runDir string
	sessionID    string
	use          *lock.Lock
	blobs        *lock.Lock // shared, until BeginLeases
	layout       *layout.Layout
	records      *snapshot.Records
	cache        *cache.Cache

	mu      sync.Mutex
	session *Session
	leases  *lease.Book
	trees   []*snapshot.Store
	volumes *lock.Lock // shared, from HoldVolumes on
}

// Open opens the store, and makes it where there is none yet. Errors that the
// user can do something about are *fault.Error: a store of another format, or
// of another user, a directory that is something else, a full disk.
func Open(ctx context.Context, o Options) (*Store, error) {
	root, runDir, err := o.places()
	if err != nil {
		return nil, err
	}
	use, err := enter(ctx, root, o.NoCreate)
	if err != nil {
		return nil, elsewhere(Explain(root, err))
	}
	if err := makeRunDir(runDir); err != nil {
		use.Unlock()
		return nil, Explain(runDir, err)
	}
	blobs, err := lock.Shared(ctx, filepath.Join(root, blobsLock))
	if err != nil {
		use.Unlock()
		return nil, Explain(root, err)
	}
	s := &Store{root: root, runDir: runDir, sessionID: newSessionID(), use: use, blobs: blobs}
	s.layout = openLayout(root).WithSession(s.sessionID).WithLease(s.leaseBlob)
	s.records = snapshot.OpenRecords(s.Dir(recordsDir), s.Dir(recordsLock))
	s.cache = cache.Open(s.Dir(cacheDir), s.Dir(stepLocks))
	return s, nil
}

// Close ends the session, if there was one, and lets go of the store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, trees := range s.trees {
		err = errors.Join(err, trees.Close())
	}
	s.trees = nil
	if s.leases != nil {
		err = errors.Join(err, s.leases.Close())
		s.leases = nil
	}
	if s.session != nil {
		err = errors.Join(err, s.session.close())
		s.session = nil
	}
	s.volumes.Unlock()
	s.blobs.Unlock()
	s.use.Unlock()
	return err
}

// Layout gives the images. What it writes aside bears the session's name.
func (s *Store) Layout() *layout.Layout { return s.layout }

// FindBeyond lets Layout ask find for images that index.json doesn't name. It is
// called before the store is used.
func (s *Store) FindBeyond(find func(ref string) (layout.Image, error)) {
	s.layout = s.layout.WithBeyond(find)
}

// Records tells which trees and packed layers there are.
func (s *Store) Records() *snapshot.Records { return s.records }

// Cache remembers steps and files' digests.
func (s *Store) Cache() *cache.Cache { return s.cache }

// Root is the store's directory, an absolute path.
func (s *Store) Root() string { return s.root }

// RunDir is the directory for what need not outlive a boot: sockets, state of
// running containers. It is private to the user, and shared by his stores.
func (s *Store) RunDir() string { return s.runDir }

// Dir gives the path of name, with slashes, below the store's directory.
func (s *Store) Dir(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// Snapshots opens the trees of a driver and id mapping. It works inside the
// user namespace only, where the trees' owners can be set and mounts be made.
func (s *Store) Snapshots(ctx context.Context, o snapshot.Options) (*snapshot.Store, error) {
	session, err := s.Session()
	if err != nil {
		return nil, err
	}
	trees, err := snapshot.Open(ctx, snapshot.Place{
		Dir:       s.Dir(snapshotsDir),
		Features:  filepath.Join(s.runDir, "features-"+shortHash(s.root)),
		StepLocks: s.Dir(stepLocks),
		Records:   s.records,
		Journal:   session,
		Session:   session.ID,
	}, o)
	if err != nil {
		return nil, Explain(s.root, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trees = append(s.trees, trees)
	return trees, nil
}

// Collector checks and cleans the store. Inside says that this process is in
// the user namespace, where trees can be removed.
func (s *Store) Collector(inside bool) *gc.Collector {
	return gc.New(gc.Parts{
		Layout: s.layout, Records: s.records, Use: s.use, Blobs: s.blobs,
		// One of its own: it reads all records, which needn't be synced for that.
		Cache:     cache.Open(s.Dir(cacheDir), s.Dir(stepLocks)),
		Snapshots: s.Dir(snapshotsDir), Sessions: s.Dir(sessionsDir), Locks: s.Dir(locksDir),
		Session: s.sessionID, Inside: inside, Journal: journalTrees,
	})
}

// Names below the store's directory.
const (
	imagesDir     = "images"
	snapshotsDir  = "snapshots"
	recordsDir    = "snapshots/records"
	cacheDir      = "cache"
	containersDir = "containers"
	containerLock = "lock" // in a container's own directory
	volumesDir    = "volumes"
	sessionsDir   = "sessions"
	locksDir      = "locks"
	storeLock     = "locks/store"
	blobsLock     = "locks/blobs"
	leasesLock    = "locks/leases"
	volumesLock   = "locks/volumes"
	indexLock     = "locks/index"
	recordsLock   = "locks/records"
	stepLocks     = "locks/steps"
	freedFile     = "locks/freed"
	versionFile   = "version"
	readmeFile    = "README"
	lostAndFound  = "lost+found" // where the store is a file system of its own
)

// Readme is the text of the store's README, for whoever finds the directory.
const Readme = `This directory is the store of builder, a container image builder: its images,
their unpacked layers, and what it remembers of earlier builds.

images/ is an OCI image layout. Read it with any tool; change it with builder.

Some files belong to subordinate user ids, so that a plain rm can't remove
them. To see what is here:          builder info
To check it:                        builder system check
To remove all of it, for good:      builder --root DIRECTORY system reset
`

// enter takes the store lock shared. Waiting for it may mean that the store was
// removed meanwhile: then there is a new one to look for.
func enter(ctx context.Context, root string, noCreate bool) (*lock.Lock, error) {
	for {
		there, err := inspect(root)
		if err != nil {
			return nil, err
		}
		if !there {
			if noCreate {
				return nil, fault.New("build or pull an image to make one", "%s: %w", root, ErrNoStore)
			}
			if err := create(ctx, root); err != nil {
				return nil, err
			}
		}
		path := filepath.Join(root, storeLock)
		use, err := lock.Shared(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			// It was removed meanwhile, or comes from a copy that left out what holds
			// nothing, such as a CI job's cache.
			if err := complete(root, there); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := os.Lstat(filepath.Join(root, versionFile)); err == nil && use.Names(path) {
			return use, nil
		}
		use.Unlock()
	}
}

// inspect reports whether there is a store that this user and this builder can
// use, without changing anything.
func inspect(root string) (bool, error) {
	st, err := os.Stat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !st.IsDir() {
		return false, fault.New("choose another place with --root", "%s is not a directory", root)
	}
	if err := checkOwner(root); err != nil {
		return false, err
	}
	version, err := os.ReadFile(filepath.Join(root, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if string(version) != formatVersion {
		return false, fault.New(
			"use the builder that made it, choose another store with --root, or remove it: builder --root "+root+" system reset",
			"the store %s has format %.20q, and this builder knows format %q", root,
			strings.TrimSpace(string(version)), strings.TrimSpace(formatVersion))
	}
	return true, nil
}

// checkOwner is an error where root belongs to another user. Inside the user
// namespace the caller's files are those of the process as well: the
// comparison is right on both sides.
func checkOwner(root string) error {
	st, err := os.Stat(root)
	if err != nil {
		return err
	}
	uid, _ := owner.IDs()
	if has := st.Sys().(*syscall.Stat_t).Uid; int(has) != uid {
		return fault.New("run builder as that user, or choose another store with --root",
			"the store %s belongs to uid %d, and this is uid %d", root, has, uid)
	}
	return nil
}

// create makes the store, or completes one whose making was cut short: the
// version file comes last.
func create(ctx context.Context, root string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if err := refuseForeign(root); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(root, stepLocks), 0o700); err != nil {
		return err
	}
	l, err := lock.Exclusive(ctx, filepath.Join(root, storeLock))
	if err != nil {
		return err
	}
	defer l.Unlock()
	if there, err := inspect(root); err != nil || there {
		return err
	}
	if err := os.Chmod(root, 0o700); err != nil {
		return err
	}
	if err := makeDirs(root); err != nil {
		return err
	}
	if err := openLayout(root).Create(); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(root, readmeFile), []byte(Readme), 0o600); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(root, versionFile), []byte(formatVersion), 0o600)
}

// complete makes what a copy of a store lacks, but for images and records. The one of the
// locks is the last, since by it a store is seen to be whole.
func complete(root string, there bool) error {
	if !there {
		return nil
	}
	if _, err := os.Stat(filepath.Join(root, versionFile)); err != nil { // it was removed
		return nil
	}
	if err := makeDirs(root); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(root, readmeFile), []byte(Readme), 0o600); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(root, stepLocks), 0o700)
}

func makeDirs(root string) error {
	dirs := append(cache.Open(filepath.Join(root, cacheDir), "").Dirs(),
		filepath.Join(root, recordsDir), ContainersDir(root), filepath.Join(root, sessionsDir))
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// refuseForeign is an error where root holds anything that isn't a store's.
func refuseForeign(root string) error {
	names, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch n := name.Name(); n {
		case imagesDir, snapshotsDir, cacheDir, containersDir, volumesDir, sessionsDir, locksDir, readmeFile, versionFile, lostAndFound:
		default:
			if !strings.HasPrefix(n, atomicfile.Prefix) {
				return fault.New("choose an empty or new directory with --root",
					"%s is not a builder store: it holds %s", root, n)
			}
		}
	}
	return nil
}

func openLayout(root string) *layout.Layout {
	return layout.Open(filepath.Join(root, imagesDir), filepath.Join(root, indexLock)).WithFreed(filepath.Join(root, freedFile))
}

// Sync puts the records of what an image is made of on stable storage: those of
// steps that were found or made through Cache, and of the trees with these keys.
// It is called before index.json names the image.
func (s *Store) Sync(ctx context.Context, trees []snapshot.Key) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.cache.Sync(ctx) })
	g.Go(func() error { return s.records.Sync(ctx, trees...) })
	return Explain(s.root, g.Wait())
}
