// Package gc finds what is wrong in a store, mends it, and takes away what
// nobody needs: Check and Repair for the first, FreeUnreferenced and Tidy for
// the second, Reset for the whole store.
//
// What is alive: the blobs that index.json leads to; the trees and records of
// its images, of the cached steps, of the failed ones that are kept and of containers,
// with those that they stand on, and the blobs that these were packed into, unless they
// were freed with an image and no container stands on them; and whatever another command is about to make something
// of. The last can't be told from rubbish, so that rubbish is removed only under
// the exclusive store lock, which nobody waits for.
// Pruning is finer, and so is freeing what a removal has set free: that was known
// to be somebody's, and who uses it has leased it. Where a command counts on blobs
// without leases, what is free is noted in a file and goes with a later one.
package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Parts are the rooms of an open store.
type Parts struct {
	Layout  *layout.Layout
	Records *snapshot.Records
	Cache   *cache.Cache
	// Use is the store lock, held shared. Blobs is that of who counts on blobs
	// without leases, held shared as well or not at all.
	Use, Blobs *lock.Lock
	// Snapshots, Sessions and Locks are directories of the store.
	Snapshots, Sessions, Locks string
	// Session is the caller's own, which is not rubbish.
	Session string
	// Journal gives the trees that a session has made or is making, by driver
	// root and id.
	Journal func(sessionDir string) ([][2]string, error)
	// Inside says that the process is in the user namespace: only there can
	// trees be removed.
	Inside bool
	// Weigh has trees measured before they are removed, for who tells of it.
	Weigh bool
}

// Collector checks and cleans one store. It isn't for several goroutines.
type Collector struct{ Parts }

// New makes a Collector of an open store's parts.
func New(p Parts) *Collector { return &Collector{p} }

// ErrNotHeld is behind an error after which the store lock isn't held any more:
// nothing that was learnt of the store counts.
var ErrNotHeld = errors.New("the store lock is lost")

// unreferencedAge is how old a blob gets that nothing refers to and that builder
// hasn't set free: another tool may be writing an image.
const unreferencedAge = 24 * time.Hour

// logAge is how old the log of a failed instruction gets.
const logAge = 7 * 24 * time.Hour

// buildAge is how long it is remembered what the last build of a Dockerfile came
// to.
const buildAge = 60 * 24 * time.Hour

// memoryAge is how long it is remembered what nothing is stored of: contents of
// files, dates of images, what other steps' sources came to.
const memoryAge = 60 * 24 * time.Hour

// Files in locks/.
const (
	// freedFile lists what removals have set free, until it has gone (see
	// layout.Free).
	freedFile = "freed"
	// cleanedFile was last written when the whole store was looked through.
	cleanedFile = "cleaned"
	leasesFile  = "leases"
	blobsFile   = "blobs"
	stepsDir    = "steps"
)

// asked reports whether removals have left something that this process can
// free.
func (c *Collector) asked() bool {
	if c.Inside {
		_, err := os.Lstat(filepath.Join(c.Locks, freedFile))
		return err == nil
	}
	free, err := c.Layout.ReadFree()
	return err == nil && len(free.Blobs) > 0
}

// alone calls fn under the exclusive store lock, or reports false where others
// use the store.
func (c *Collector) alone(ctx context.Context, fn func() error) (bool, error) {
	held, err := c.Use.TryUpgrade(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotHeld, err)
	}
	if !held {
		return false, nil
	}
	err = fn()
	if lost := c.Use.Downgrade(ctx); lost != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrNotHeld, lost))
	}
	return true, err
}

var errCutShort = errors.New("the list of images was put aside by a repair that was cut short")

// namesAreKnown is an error while images are there that index.json doesn't tell
// of, because its repair isn't finished. Where none was begun, index.json isn't
// read: what comes next does that.
func (c *Collector) namesAreKnown() error {
	if _, err := os.Lstat(c.Layout.DamagedPath()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	images, err := c.Layout.List()
	if err != nil {
		return err
	}
	cut, err := c.cutShort(images)
	if err == nil && cut {
		err = fault.New("builder system check --repair", "%w", errCutShort)
	}
	return err
}

// dueForWhole reports whether the whole store was last looked through long ago.
func (c *Collector) dueForWhole() bool {
	st, err := os.Lstat(filepath.Join(c.Locks, cleanedFile))
	return err != nil || time.Since(st.ModTime()) > unreferencedAge
}

// oldBlobs gives the blobs that are old enough to go if no image leads to them,
// but for packed layers of steps that are still known.
func (c *Collector) oldBlobs(age time.Duration) ([]digest.Digest, error) {
	live, err := c.liveRecords()
	if err != nil {
		return nil, err
	}
	packed := packedBlobs(live)
	if err := c.addSources(packed); err != nil {
		return nil, err
	}
	var old []digest.Digest
	err = c.eachBlob(func(d digest.Digest, st fs.FileInfo) {
		if _, known := packed[d]; !known && time.Since(st.ModTime()) > age {
			old = append(old, d)
		}
	})
	return old, err
}

// eachBlob calls fn with each blob, whether anything refers to it or not.
func (c *Collector) eachBlob(fn func(digest.Digest, fs.FileInfo)) error {
	names, err := os.ReadDir(c.blobDir())
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, name := range names {
		d := digest.NewDigestFromEncoded(digest.SHA256, name.Name())
		if d.Validate() != nil {
			continue
		}
		if st, err := name.Info(); err == nil {
			fn(d, st)
		}
	}
	return nil
}

func (c *Collector) blobDir() string {
	return filepath.Join(c.Layout.BlobsDir(), digest.SHA256.String())
}

// rubbish gives the paths that nobody can need under the exclusive store lock:
// files that were being written, and dead sessions.
func (c *Collector) rubbish() ([]string, error) {
	paths, err := c.temporaries()
	if err != nil {
		return nil, err
	}
	sessions, err := list(c.Sessions, func(name string) bool { return strings.TrimSuffix(name, ".d") != c.Session })
	return append(paths, sessions...), err
}

func (c *Collector) temporaries() ([]string, error) {
	cached, err := list(c.Cache.Dir(), func(string) bool { return true }) // the caches of other rooms as well
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, dir := range append(cached, c.Cache.Dir(), c.blobDir(), c.Layout.Dir(), c.Records.Dir(), snapshot.KeptDir(c.Snapshots), c.Locks) {
		found, err := list(dir, func(name string) bool { return strings.HasPrefix(name, atomicfile.Prefix) })
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

// list gives the paths of those names in dir that suit: none where there is no
// such directory.
func list(dir string, suits func(name string) bool) ([]string, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	var paths []string
	for _, name := range names {
		if suits(name.Name()) {
			paths = append(paths, filepath.Join(dir, name.Name()))
		}
	}
	return paths, nil
}

// removeRubbish removes rubbish, the locks of steps, old logs of instructions
// that failed, and what is remembered of what nobody repeats. Outside the
// namespace it leaves dead sessions to Sweep, which knows what they hold.
func (c *Collector) removeRubbish() error {
	find := c.rubbish
	if !c.Inside {
		find = c.temporaries
	}
	paths, err := find()
	if err != nil {
		return err
	}
	locks, err := list(filepath.Join(c.Locks, stepsDir), func(string) bool { return true })
	if err != nil {
		return err
	}
	logs, err := c.Cache.OldLogs(logAge)
	if ignoreAbsent(err) != nil {
		return err
	}
	builds, err := c.Cache.OldBuilds(buildAge)
	if err != nil {
		return err
	}
	// Builds that were killed have added nothing to it.
	errs := []error{c.Cache.ForgetTotal(), c.forgetMemory(memoryAge)}
	for _, path := range slices.Concat(paths, locks, logs, builds) {
		errs = append(errs, removal.All(path))
	}
	return errors.Join(errs...)
}

// forgetMemory removes what no build has used for longer than age of that which
// holds no tree.
func (c *Collector) forgetMemory(age time.Duration) error {
	paths, err := c.Cache.OldMemory(age)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		errs = append(errs, ignoreAbsent(os.Remove(path)))
	}
	steps, _, err := c.steps()
	for _, step := range steps {
		if step.Result == "" && time.Since(c.Cache.LastUsed(step.Key)) > age {
			errs = append(errs, c.Cache.RemoveStep(step))
		}
	}
	return errors.Join(append(errs, err)...)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
