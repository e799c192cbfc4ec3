package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

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
// looked at could; git calls that racily clean. The tick is a second where times
// have no fraction.)
type Files struct {
	path   string
	root   string // the directory
	opened int64  // nanoseconds

	mu       sync.Mutex
	text     string               // the file as it was read
	saved    []savedEntry         // what text holds, sorted by path
	fresh    map[string]fileEntry // what was added since
	used     int                  // of saved and fresh together
	replaced int                  // of saved
	changed  bool
}

// savedEntry tells where in the text an entry is. Many are never asked for,
// and there may be very many.
type savedEntry struct {
	at       uint32
	used     bool
	replaced bool // by one of fresh
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

// unusedAllowance is how many entries beyond the used ones are kept: another
// Dockerfile of the same directory may ask for them next time.
const unusedAllowance = 50_000

// OpenFiles gives what is remembered of the files below root, which is an
// absolute path. A missing or torn file is an empty memory.
func (c *Cache) OpenFiles(root string) (*Files, error) {
	root = filepath.Clean(root)
	name := sha256.Sum256([]byte(root))
	f := &Files{path: filepath.Join(c.dir, filesDir, hex.EncodeToString(name[:])), root: root}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return nil, os.NewSyscallError("clock_gettime", err)
	}
	f.opened = now.Nano()
	data, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	noteUse(f.path)
	f.load(string(data))
	return f, nil
}

// Get gives the digest of the regular file at rel whose stat data are st, if
// the file can't have changed since it was last read.
func (f *Files) Get(rel string, st *unix.Stat_t) (digest.Digest, bool) {
	want := statOf(st)
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.fresh[rel]; ok {
		return e.digest(), e.stat == want
	}
	place := f.find(rel)
	if place == nil {
		return "", false
	}
	e := entryAt(f.text[place.at:])
	if e.stat != want {
		return "", false
	}
	if !place.used {
		place.used = true
		f.used++
	}
	return e.digest(), true
}

// Put remembers the digest of a file that was read after st was taken, which
// was after Files was opened. Digests other than sha256 are not remembered.
func (f *Files) Put(rel string, st *unix.Stat_t, d digest.Digest) {
	e := fileEntry{stat: statOf(st)}
	sum, err := hex.DecodeString(d.Encoded())
	if err != nil || d.Algorithm() != digest.SHA256 || copy(e.sum[:], sum) != sha256.Size {
		return
	}
	if !f.before(e.stat.Mtime) || !f.before(e.stat.Ctime) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.fresh[rel]; !ok {
		f.used++
	}
	if place := f.find(rel); place != nil {
		if place.used {
			f.used--
		}
		place.replaced = true
		f.replaced++
	}
	f.fresh[rel] = e
	f.changed = true
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

// Save writes the memory for the next time, if anything was added. Another
// process's that was saved meanwhile is replaced.
func (f *Files) Save() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.changed {
		return nil
	}
	keepAll := f.count()-f.used <= unusedAllowance
	if err := atomicfile.WriteUnsynced(f.path, f.encode(keepAll), 0o600); err != nil {
		return err
	}
	f.changed = false
	return nil
}

// count is how many files are remembered.
func (f *Files) count() int { return len(f.saved) - f.replaced + len(f.fresh) }

// find gives the saved entry of a path, nil where there is none.
func (f *Files) find(rel string) *savedEntry {
	i, ok := slices.BinarySearchFunc(f.saved, rel, func(e savedEntry, rel string) int {
		return cmp.Compare(f.nameAt(e.at), rel)
	})
	if !ok || f.saved[i].replaced {
		return nil
	}
	return &f.saved[i]
}

// nameAt is the path of the entry at a place in the text.
func (f *Files) nameAt(at uint32) string {
	name := int(at) + entryFixed
	return f.text[name : name+lengthAt(f.text, name-2)]
}

func lengthAt(text string, at int) int { return int(text[at]) | int(text[at+1])<<8 }

func statOf(st *unix.Stat_t) fileStat {
	return fileStat{
		Size:  st.Size,
		Mtime: st.Mtim.Nano(),
		Ctime: st.Ctim.Nano(),
		Ino:   st.Ino,
		Dev:   uint64(st.Dev), //nolint:unconvert // 32 bits wide on some machines
	}
}

// The file: magic, number of entries, length of the directory's path and that
// path, the entries sorted by path, and a CRC-32C of all before it. Numbers are
// little-endian.
const (
	filesMagic    = "builder files 2\n"
	filesHeader   = len(filesMagic) + 4 + 2
	filesTrailer  = 4
	entryFixed    = 5*8 + sha256.Size + 2
	maxRememberee = 1<<16 - 1 // a path's length has two bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *Files) encode(all bool) []byte {
	kept := slices.Clone(f.saved)
	kept = slices.DeleteFunc(kept, func(e savedEntry) bool { return e.replaced || !all && !e.used })
	size := filesHeader + len(f.root) + filesTrailer
	for _, e := range kept {
		size += entryFixed + len(f.nameAt(e.at))
	}
	names := make([]string, 0, len(f.fresh))
	for name := range f.fresh {
		if len(name) <= maxRememberee {
			names = append(names, name)
			size += entryFixed + len(name)
		}
	}
	slices.Sort(names)
	data := append(make([]byte, 0, size), filesMagic...)
	le := binary.LittleEndian
	data = le.AppendUint32(data, uint32(len(names)+len(kept)))
	data = le.AppendUint16(data, uint16(len(f.root))) // a path is shorter than 4096 bytes
	data = append(data, f.root...)
	for len(names)+len(kept) > 0 {
		if len(names) == 0 || len(kept) > 0 && f.nameAt(kept[0].at) < names[0] {
			at := int(kept[0].at)
			data = append(data, f.text[at:at+entryFixed+len(f.nameAt(kept[0].at))]...)
			kept = kept[1:]
			continue
		}
		name := names[0]
		names = names[1:]
		e := f.fresh[name]
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

// load takes text for all that is known: nothing, where it isn't a whole file.
func (f *Files) load(text string) {
	f.text, f.saved, f.fresh, f.used, f.replaced = "", nil, map[string]fileEntry{}, 0, 0
	end := len(text) - filesTrailer
	if end < filesHeader || text[:len(filesMagic)] != filesMagic || int64(end) > math.MaxUint32 ||
		crc32.Checksum([]byte(text[:end]), castagnoli) != binary.LittleEndian.Uint32([]byte(text[end:])) {
		return
	}
	f.text = text
	count := int(binary.LittleEndian.Uint32([]byte(text[len(filesMagic):filesHeader])))
	first := filesHeader + int(binary.LittleEndian.Uint16([]byte(text[filesHeader-2:filesHeader])))
	f.saved = make([]savedEntry, 0, min(count, (end-filesHeader)/entryFixed))
	for at := first; at+entryFixed <= end; {
		name := at + entryFixed
		length := lengthAt(text, name-2)
		if name+length > end {
			return
		}
		f.saved = append(f.saved, savedEntry{at: uint32(at)})
		at = name + length
	}
}

// entryAt reads the entry with which text begins.
func entryAt(text string) fileEntry {
	var fixed [entryFixed]byte
	copy(fixed[:], text)
	le := binary.LittleEndian
	e := fileEntry{stat: fileStat{
		Size: int64(le.Uint64(fixed[:])), Mtime: int64(le.Uint64(fixed[8:])), Ctime: int64(le.Uint64(fixed[16:])),
		Ino: le.Uint64(fixed[24:]), Dev: le.Uint64(fixed[32:]),
	}}
	copy(e.sum[:], fixed[40:])
	return e
}
