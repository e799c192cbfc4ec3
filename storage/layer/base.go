package layer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/pathorder"
)

// Base remembers the inode and the ctime of each file of a tree at one moment.
// No change of a file leaves both as they were, so what a later walk finds
// unmoved needs no second look. It is a file, for there may be very many. The
// zero Base knows nothing.
type Base struct{ file string }

type stamp struct {
	ino   uint64
	ctime ctime
}

type ctime struct{ sec, nsec int64 }

func ctimeOf(ts unix.Timespec) ctime {
	sec, nsec := ts.Unix()
	return ctime{sec, nsec}
}

// before tells that t is certainly older than noted. A time without a
// fraction may come from a file system that keeps none.
func (t ctime) before(noted ctime) bool {
	return t.sec < noted.sec || t.sec == noted.sec && t.nsec != 0 && t.nsec < noted.nsec
}

// The file of a Base: its magic; the moment of which it tells, by the coarse clock
// that file systems take their times from, in seconds and nanoseconds; the number
// of files; and for each the length of its path, the path, inode, and ctime.
// Numbers are varints, those of the head of full length, for they come last. The
// files are in the order of a walk. (In what was written in any order only some are
// found: the others get a second look.)
const (
	baseMagic = "builder-base-1\n"
	baseHead  = 3 * longVarint
	// longVarint is the length of a varint that has any number of 63 bits.
	longVarint = 9
)

// NoteBase notes the tree in dir as it is now in a file, in about 30 bytes an entry
// beside its path.
func NoteBase(ctx context.Context, dir, file string) (_ *Base, err error) {
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	defer closeFD(fd)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n := &baseNoter{ctx: ctx, out: bufio.NewWriterSize(f, 64<<10)}
	n.write(append([]byte(baseMagic), make([]byte, baseHead)...))
	if err := n.dir(fd, ""); err != nil {
		return nil, err
	}
	if err := n.out.Flush(); err != nil {
		return nil, err
	}
	// A ctime that isn't older proves nothing: a change that came right after has
	// the same.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return nil, err
	}
	noted := ctimeOf(now)
	head := appendLong(nil, zigzag(noted.sec))
	head = appendLong(appendLong(head, zigzag(noted.nsec)), n.count)
	_, err = f.WriteAt(head, int64(len(baseMagic)))
	return &Base{file}, err
}

// appendLong writes an unsigned varint of full length.
func appendLong(buf []byte, v uint64) []byte {
	for range longVarint - 1 {
		buf = append(buf, byte(v)|0x80)
		v >>= 7
	}
	return append(buf, byte(v)&0x7f)
}

// zigzag gives the unsigned number as which a varint has a signed one.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// baseNoter writes the files of a Base. The writer keeps the first error.
type baseNoter struct {
	ctx   context.Context
	out   *bufio.Writer
	count uint64
	line  []byte
}

func (n *baseNoter) write(data []byte) { _, _ = n.out.Write(data) } // Flush tells

func (n *baseNoter) dir(fd int, path string) error {
	if err := n.ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return pathError("readdir", path, err)
	}
	for d := range names.all() {
		if err := n.name(fd, d.name, join(path, d.name)); err != nil {
			return pathError("lstat", join(path, d.name), err)
		}
	}
	return nil
}

func (n *baseNoter) name(dirfd int, name, path string) error {
	var st unix.Stat_t
	if err := lstatAt(dirfd, name, &st); err != nil {
		return err
	}
	c := ctimeOf(st.Ctim)
	n.line = binary.AppendUvarint(n.line[:0], uint64(len(path)))
	n.line = append(n.line, path...)
	n.line = binary.AppendUvarint(n.line, st.Ino)
	n.line = binary.AppendVarint(binary.AppendVarint(n.line, c.sec), c.nsec)
	n.write(n.line)
	n.count++
	if typeOf(st.Mode) != TypeDir {
		return nil
	}
	fd, err := openDir(dirfd, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return n.dir(fd, path)
}

// LoadBase gives the base in a file that [NoteBase] wrote, if it is whole.
func LoadBase(file string) (*Base, error) {
	b := &Base{file}
	r, err := b.open()
	if err != nil {
		return nil, err
	}
	defer r.close()
	for r.next() {
	}
	if r.in.err != nil {
		return nil, fmt.Errorf("%s: %w", file, r.in.err)
	}
	return b, nil
}

// baseReader reads the files of a Base, one after the other.
type baseReader struct {
	file  *os.File
	in    fieldReader
	noted ctime
	left  uint64
	// path and stamp are of the file that was read last, if ok.
	path  string
	stamp stamp
	ok    bool
}

// open gives a reader before the first file. That of a Base that knows nothing is
// nil.
func (b *Base) open() (*baseReader, error) {
	if b == nil || b.file == "" {
		return nil, nil
	}
	f, err := os.Open(b.file)
	if err != nil {
		return nil, err
	}
	r := &baseReader{file: f, in: fieldReader{r: bufio.NewReaderSize(f, 64<<10)}}
	if magic := r.in.bytes(len(baseMagic)); string(magic) != baseMagic {
		r.close()
		return nil, fmt.Errorf("%s: not a base of this version", b.file)
	}
	r.noted, r.left = r.in.ctime(), r.in.uint()
	return r, nil
}

func (r *baseReader) close() {
	if r != nil {
		_ = r.file.Close() // only read
	}
}

// next reads one more file.
func (r *baseReader) next() bool {
	r.ok = false
	if r.left == 0 || r.in.err != nil {
		return false
	}
	r.left--
	r.path = r.in.string()
	r.stamp = stamp{r.in.uint(), r.in.ctime()}
	r.ok = r.in.err == nil
	return r.ok
}

// has tells that a file certainly hasn't changed. It is asked in the order of a
// walk.
func (r *baseReader) has(path string, st *unix.Stat_t) bool {
	if r == nil {
		return false
	}
	for !r.ok || pathorder.Compare(r.path, path) < 0 {
		if !r.next() {
			return false
		}
	}
	return r.path == path && r.stamp == stamp{st.Ino, ctimeOf(st.Ctim)} && r.stamp.ctime.before(r.noted)
}
