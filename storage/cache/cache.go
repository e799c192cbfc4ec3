// Package cache remembers what a build has done already: the result of each
// step by its key, what went into that key, and the content digests of files
// that have not changed. All of it can be lost without harm: what is missing,
// torn or unreadable counts as never done. docs/format.md specifies the files.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage/lock"
)

// ErrNotFound says that nothing is known of a key.
var ErrNotFound = errors.New("no such step")

// Key names a step: the digest of everything that its result depends on.
type Key = digest.Digest

// Directories of the cache, below the store's cache/.
const (
	stepsDir  = "steps"
	seenDir   = "seen"
	filesDir  = "files"
	logsDir   = "logs"
	mountsDir = "mounts"
)

// Cache is the store's cache directory. Its methods may be called at once by
// any number of goroutines and processes.
type Cache struct {
	dir   string
	locks string
	used  sync.Map // paths of the records that were found or made
}

// Open gives the cache in dir, whose Dirs are there; locks is where the steps'
// lock files live.
func Open(dir, locks string) *Cache {
	return &Cache{dir: dir, locks: locks}
}

// Dir is the cache's directory.
func (c *Cache) Dir() string { return c.dir }

// Dirs gives the directories that the cache needs.
func (c *Cache) Dirs() []string {
	return []string{
		filepath.Join(c.dir, stepsDir), filepath.Join(c.dir, seenDir),
		filepath.Join(c.dir, filesDir), filepath.Join(c.dir, answersDir), filepath.Join(c.dir, logsDir),
		filepath.Join(c.dir, buildsDir), filepath.Join(c.dir, stagesDir), filepath.Join(c.dir, mountsDir), filepath.Join(c.dir, failedDir),
	}
}

// Seen reports whether MarkSeen was called with def: the digest of a parent's
// key and an instruction, without what the instruction reads. Where it was not,
// no step with them is recorded, and a miss is certain before any file is read.
func (c *Cache) Seen(def Key) bool {
	if def.Validate() != nil {
		return false
	}
	path := c.path(seenDir, def)
	if _, err := os.Lstat(path); err != nil {
		return false
	}
	noteUse(path)
	c.used.Store(path, nil)
	return true
}

// MarkSeen notes that a step with this parent and instruction is recorded. It
// is called before PutStep.
func (c *Cache) MarkSeen(def Key) error {
	if err := def.Validate(); err != nil {
		return err
	}
	path := c.path(seenDir, def)
	// Not for writing: one that is there may be read-only, since it was synced.
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note the instruction: %w", err)
	}
	c.used.Store(path, nil)
	return f.Close()
}

// LockStep waits until no other worker, of this process or another, makes the
// step key, and keeps the others waiting until unlock is called. Whoever had to
// wait looks the step up again. A worker holds one step's lock at a time.
func (c *Cache) LockStep(ctx context.Context, key Key) (unlock func(), err error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	l, err := lock.Exclusive(ctx, filepath.Join(c.locks, key.Encoded()))
	if err != nil {
		return nil, err
	}
	return l.Unlock, nil
}

// TryLockStep is LockStep without waiting: held is false where somebody else makes
// the step.
func (c *Cache) TryLockStep(key Key) (unlock func(), held bool, err error) {
	if err := key.Validate(); err != nil {
		return nil, false, err
	}
	l, held, err := lock.TryExclusive(filepath.Join(c.locks, key.Encoded()))
	if err != nil || !held {
		return nil, false, err
	}
	return l.Unlock, true, nil
}

// LogFile makes the file that keeps a step's whole output, empty at first. The
// caller closes w.
func (c *Cache) LogFile(key Key) (path string, w *os.File, err error) {
	if err := key.Validate(); err != nil {
		return "", nil, err
	}
	path = c.path(logsDir, key) + ".log"
	w, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	return path, w, err
}

// Sync puts the records that were found or made through c on stable storage, as
// must be before index.json names an image made of them: not only those of its
// steps, for whatever a cached build looks up decides whether it finds the rest.
// It is cheap where all of them have been synced before.
func (c *Cache) Sync(ctx context.Context) error {
	var paths []string
	c.used.Range(func(path, _ any) bool {
		paths = append(paths, path.(string))
		return true
	})
	if err := atomicfile.Sync(ctx, paths); err != nil {
		return fmt.Errorf("sync records: %w", err)
	}
	return nil
}

func (c *Cache) path(dir string, key Key) string {
	return filepath.Join(c.dir, dir, key.Encoded())
}
