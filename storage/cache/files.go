package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Files remembers the content digests of the files below one directory by
// their stat data, so that an unchanged file is not read again. Its methods may
// be called by several goroutines at once.
//
// A digest is remembered only for a file whose mtime and ctime lie before the
// moment at which Files was opened, by the clock that file systems stamp with.
// Whatever changes the file after it was looked at gets a later ctime, and so
// can't pass for what was read. (A file that changed in the very tick of being
// looked at could; git calls that racily clean.)
type Files struct {
	path   string
	opened int64 // nanoseconds

	mu      sync.Mutex
	known   map[string]*fileEntry
	used    int
	changed bool
}

// fileEntry is what must be the same for the digest to hold.
type fileEntry struct {
	stat fileStat
	sum  [sha256.Size]byte
	used bool
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

// unusedAllowance is how many entries beyond the used ones are kept: another
// Dockerfile of the same directory may ask for them next time.
const unusedAllowance = 50_000

// OpenFiles gives what is remembered of the files below root, which is an
// absolute path. A missing or torn file is an empty memory.
func (c *Cache) OpenFiles(root string) (*Files, error) {
	name := sha256.Sum256([]byte(filepath.Clean(root)))
	f := &Files{path: filepath.Join(c.dir, filesDir, hex.EncodeToString(name[:]))}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return nil, os.NewSyscallError("clock_gettime", err)
	}
	f.opened = now.Nano()
	data, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f.known = decodeFiles(data)
	return f, nil
}

// Get gives the digest of the regular file at rel whose stat data are st, if
// the file can't have changed since it was last read.
func (f *Files) Get(rel string, st *unix.Stat_t) (digest.Digest, bool) {
	want := statOf(st)
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.known[rel]
	if e == nil || e.stat != want {
		return "", false
	}
	f.use(e)
	return e.digest(), true
}

// Put remembers the digest of a file that was read after st was taken, which
// was after Files was opened. Digests other than sha256 are not remembered.
func (f *Files) Put(rel string, st *unix.Stat_t, d digest.Digest) {
	e := &fileEntry{stat: statOf(st)}
	sum, err := hex.DecodeString(d.Encoded())
	if err != nil || d.Algorithm() != digest.SHA256 || copy(e.sum[:], sum) != sha256.Size {
		return
	}
	if max(e.stat.Mtime, e.stat.Ctime) >= f.opened {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.known[rel]; old != nil && old.used {
		f.used--
	}
	f.known[rel] = e
	f.use(e)
	f.changed = true
}

// Save writes the memory for the next time, if anything was added. Another
// process's that was saved meanwhile is replaced.
func (f *Files) Save() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.changed {
		return nil
	}
	keepAll := len(f.known)-f.used <= unusedAllowance
	if err := atomicfile.WriteUnsynced(f.path, f.encode(keepAll), 0o600); err != nil {
		return err
	}
	f.changed = false
	return nil
}

func (f *Files) use(e *fileEntry) {
	if !e.used {
		e.used = true
		f.used++
	}
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

// The file: magic, number of entries, the entries sorted by path, and a CRC-32C
// of all before it. Numbers are little-endian.
const (
	filesMagic    = "builder files 1\n"
	filesHeader   = len(filesMagic) + 4
	filesTrailer  = 4
	entryFixed    = 5*8 + sha256.Size + 2
	maxRememberee = 1<<16 - 1 // a path's length has two bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *Files) encode(all bool) []byte {
	names := make([]string, 0, len(f.known))
	size := filesHeader + filesTrailer
	for name, e := range f.known {
		if (all || e.used) && len(name) <= maxRememberee {
			names = append(names, name)
			size += entryFixed + len(name)
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	data := append(make([]byte, 0, size), filesMagic...)
	le := binary.LittleEndian
	data = le.AppendUint32(data, uint32(len(names)))
	for _, name := range names {
		e := f.known[name]
		for _, n := range []int64{e.stat.Size, e.stat.Mtime, e.stat.Ctime} {
			data = le.AppendUint64(data, uint64(n))
		}
		data = le.AppendUint64(data, e.stat.Ino)
		data = le.AppendUint64(data, e.stat.Dev)
		data = append(data, e.sum[:]...)
		data = le.AppendUint16(data, uint16(len(name)))
		data = append(data, name...)
	}
	return le.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// decodeFiles gives an empty memory for anything but a whole file.
func decodeFiles(data []byte) map[string]*fileEntry {
	le := binary.LittleEndian
	end := len(data) - filesTrailer
	if end < filesHeader || string(data[:len(filesMagic)]) != filesMagic ||
		crc32.Checksum(data[:end], castagnoli) != le.Uint32(data[end:]) {
		return make(map[string]*fileEntry)
	}
	count := int(le.Uint32(data[len(filesMagic):]))
	if count > (end-filesHeader)/entryFixed {
		return make(map[string]*fileEntry)
	}
	known := make(map[string]*fileEntry, count)
	entries := make([]fileEntry, count)
	text := string(data) // one copy for all names
	at := filesHeader
	for i := range entries {
		e := &entries[i]
		if at+entryFixed > end {
			break
		}
		d := data[at:]
		e.stat = fileStat{
			Size: int64(le.Uint64(d)), Mtime: int64(le.Uint64(d[8:])), Ctime: int64(le.Uint64(d[16:])),
			Ino: le.Uint64(d[24:]), Dev: le.Uint64(d[32:]),
		}
		copy(e.sum[:], d[40:])
		name := at + entryFixed
		at = name + int(le.Uint16(d[entryFixed-2:]))
		if at > end {
			break
		}
		known[text[name:at]] = e
	}
	return known
}
