package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/spool"
)

// Files remembers the content digests of the files below one directory by
// their stat data, so that an unchanged file is not read again. Its methods may
// be called by several goroutines at once.
//
// A digest is remembered only for a file whose mtime and ctime lie before the
// moment at which Files was opened, by the clock that file systems stamp with.
// Whatever changes the file after it was looked at gets a later ctime, and so
// can't pass for what was read. (A file that changed in the very tick of being
// looked at could; git calls that racily clean. The tick is a second where times
// have no fraction.)
//
// However many files there are, it takes some MiB: what is known stays on the
// disk, in tables, and so does what is added, but for the last of it. It is
// quickest when it is asked in the order of a walk.
type Files struct {
	path   string
	root   string // the directory
	opened int64  // nanoseconds

	mu      sync.Mutex
	saved   *fileTable           // what was known; nil for nothing
	used    bitset               // of saved: what was asked for, or replaced since
	runs    []*fileTable         // what was added, the oldest first
	fresh   map[string]fileEntry // what was added last
	changed bool
	blocks  blockCache
}

// fileEntry is what must be the same for the digest to hold.
type fileEntry struct {
	stat fileStat
	sum  [sha256.Size]byte
}

// digest is digest.NewDigestFromBytes at a tenth of its cost.
func (e *fileEntry) digest() digest.Digest {
	const prefix = string(digest.SHA256) + ":"
	var text [len(prefix) + 2*sha256.Size]byte
	copy(text[:], prefix)
	hex.Encode(text[len(prefix):], e.sum[:])
	return digest.Digest(text[:])
}

// fileStat has only fields of fixed size, as it is on disk. Times are
// nanoseconds since 1970.
type fileStat struct {
	Size, Mtime, Ctime int64
	Ino, Dev           uint64
}

const (
	// unusedAllowance is how many entries beyond the used ones are kept: another
	// Dockerfile of the same directory may ask for them next time.
	unusedAllowance = 50_000
	// freshInMemory is how many entries are added before they go to the disk.
	freshInMemory = 8192
	// runsOfALevel is how many tables of like size become one.
	runsOfALevel = 16
)

// OpenFiles gives what is remembered of the files below root, which is an
// absolute path. A missing or torn file is an empty memory.
func (c *Cache) OpenFiles(root string) (*Files, error) {
	root = filepath.Clean(root)
	name := sha256.Sum256([]byte(root))
	f := &Files{
		path: filepath.Join(c.dir, filesDir, hex.EncodeToString(name[:])), root: root,
		fresh: map[string]fileEntry{},
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return nil, os.NewSyscallError("clock_gettime", err)
	}
	f.opened = now.Nano()
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	noteUse(f.path)
	if f.saved, err = openFileTable(file); err != nil {
		_ = file.Close() // only read
		if !errors.Is(err, errTorn) {
			return nil, err
		}
		return f, nil
	}
	f.used = newBitset(f.saved.entries)
	return f, nil
}

// Get gives the digest of the regular file at rel whose stat data are st, if
// the file can't have changed since it was last read.
func (f *Files) Get(rel string, st *unix.Stat_t) (digest.Digest, bool) {
	want := statOf(st)
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.added(rel); ok {
		return e.digest(), e.stat == want
	}
	text, place := f.blocks.find(f.saved, rel)
	if place < 0 {
		return "", false
	}
	e := entryAt(text)
	if e.stat != want {
		return "", false
	}
	f.used.set(place)
	return e.digest(), true
}

// added gives the entry of a path that Put was given.
func (f *Files) added(rel string) (fileEntry, bool) {
	if e, ok := f.fresh[rel]; ok {
		return e, true
	}
	for i := len(f.runs) - 1; i >= 0; i-- {
		if text, place := f.blocks.find(f.runs[i], rel); place >= 0 {
			return entryAt(text), true
		}
	}
	return fileEntry{}, false
}

// Put remembers the digest of a file that was read after st was taken, which
// was after Files was opened. Digests other than sha256 are not remembered.
func (f *Files) Put(rel string, st *unix.Stat_t, d digest.Digest) {
	e := fileEntry{stat: statOf(st)}
	sum, err := hex.DecodeString(d.Encoded())
	if err != nil || d.Algorithm() != digest.SHA256 || copy(e.sum[:], sum) != sha256.Size {
		return
	}
	if !f.before(e.stat.Mtime) || !f.before(e.stat.Ctime) || len(rel) > maxRememberee {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, place := f.blocks.find(f.saved, rel); place >= 0 {
		f.used.set(place)
	}
	f.fresh[rel] = e
	f.changed = true
	if len(f.fresh) >= freshInMemory {
		f.spill()
	}
}

// before reports whether a file with this time was last changed before Files
// was opened. Where the file system keeps whole seconds, the time is that of
// any moment in its second.
func (f *Files) before(t int64) bool {
	const second = int64(time.Second)
	if t%second == 0 {
		return t < f.opened-f.opened%second
	}
	return t < f.opened
}

// spill takes what was added last to the disk. Where that can't be done it is
// forgotten: it will be read again.
func (f *Files) spill() {
	run, err := f.writeRun([]*entryCursor{freshCursor(f.fresh)}, 0)
	clear(f.fresh)
	if err != nil {
		return
	}
	f.runs = append(f.runs, run)
	for f.mergeRuns() {
	}
}

// mergeRuns makes one of the newest tables where so many have the same level:
// so there are few, and an entry is written a few times.
func (f *Files) mergeRuns() bool {
	first, level := len(f.runs), f.runs[len(f.runs)-1].level
	for first > 0 && f.runs[first-1].level == level {
		first--
	}
	if len(f.runs)-first < runsOfALevel {
		return false
	}
	one, err := f.writeRun(tableCursors(f.runs[first:]), level+1)
	if err != nil {
		return false // they stay several
	}
	for _, run := range f.runs[first:] {
		_ = run.file.Close() // nobody reads it any more
	}
	f.runs = append(f.runs[:first], one)
	return true
}

// writeRun writes a table into a file without a name beside the memory.
func (f *Files) writeRun(from []*entryCursor, level int) (t *fileTable, err error) {
	file, err := spool.Unnamed(filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // err says what went wrong first
		}
	}()
	last, err := writeFileTable(file, f.root, from)
	if err != nil {
		return nil, err
	}
	if t, err = openFileTable(file); err != nil {
		return nil, err
	}
	t.level, t.last = level, last
	return t, nil
}

// Save writes the memory for the next time, if anything was added. Another
// process's that was saved meanwhile is replaced.
func (f *Files) Save() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.changed {
		return nil
	}
	from := append([]*entryCursor{freshCursor(f.fresh)}, tableCursors(f.runs)...)
	if f.saved != nil {
		saved := tableCursors([]*fileTable{f.saved})
		if f.saved.entries-f.used.count() > unusedAllowance {
			saved[0].kept = f.used
		}
		from = append(from, saved...)
	}
	err := atomicfile.StreamUnsynced(f.path, 0o600, func(w io.Writer) error {
		_, err := writeFileTable(w, f.root, from)
		return err
	})
	if err != nil {
		return err
	}
	f.changed = false
	return nil
}

// Close ends the memory. What wasn't saved is forgotten.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	for _, t := range append(f.runs, f.saved) {
		if t != nil {
			err = errors.Join(err, t.file.Close())
		}
	}
	f.saved, f.runs, f.fresh, f.blocks, f.changed = nil, nil, map[string]fileEntry{}, blockCache{}, false
	return err
}

func statOf(st *unix.Stat_t) fileStat {
	return fileStat{
		Size:  st.Size,
		Mtime: st.Mtim.Nano(),
		Ctime: st.Ctim.Nano(),
		Ino:   st.Ino,
		Dev:   uint64(st.Dev), //nolint:unconvert // 32 bits wide on some machines
	}
}
