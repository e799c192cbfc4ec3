package layer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Compare is what stands in the layer whose full tree is dir, a copy of the
// parent's that was changed since: base is what [CopyTree] or [NoteBase] gave.
// The directory must not change during a Walk, which closes parent as one of
// [Upper] does.
func Compare(dir string, base *Base, parent *Tree, o UpperOptions) Source {
	o.Flavor = VFS
	return &changes{dir: dir, parent: parent, o: o, base: base}
}

// Base remembers the inode and the ctime of each file of a tree at one moment.
// No change of a file leaves both as they were, so what a later walk finds
// unmoved needs no second look.
type Base struct {
	stamps map[string]stamp
	// noted is when the noting ended, by the coarse clock that file systems
	// take their times from. A ctime that isn't older proves nothing: a
	// change that came right after has the same.
	noted ctime
}

type stamp struct {
	ino   uint64
	ctime ctime
}

type ctime struct{ sec, nsec int64 }

// NoteBase notes the tree in dir as it is now.
func NoteBase(ctx context.Context, dir string) (*Base, error) {
	b := &Base{stamps: map[string]stamp{}}
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	defer closeFD(fd)
	if err := b.noteDir(ctx, fd, ""); err != nil {
		return nil, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return nil, err
	}
	b.noted = ctimeOf(now)
	return b, nil
}

func (b *Base) noteDir(ctx context.Context, fd int, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return pathError("readdir", path, err)
	}
	for _, d := range names {
		if err := b.note(ctx, fd, d.name, join(path, d.name)); err != nil {
			return pathError("lstat", join(path, d.name), err)
		}
	}
	return nil
}

func (b *Base) note(ctx context.Context, dirfd int, name, path string) error {
	var st unix.Stat_t
	if err := lstatAt(dirfd, name, &st); err != nil {
		return err
	}
	b.stamps[path] = stamp{st.Ino, ctimeOf(st.Ctim)}
	if typeOf(st.Mode) != TypeDir {
		return nil
	}
	fd, err := openDir(dirfd, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return b.noteDir(ctx, fd, path)
}

func ctimeOf(ts unix.Timespec) ctime {
	sec, nsec := ts.Unix()
	return ctime{sec, nsec}
}

// has tells that a file certainly hasn't changed. A nil base knows nothing.
func (b *Base) has(path string, st *unix.Stat_t) bool {
	if b == nil {
		return false
	}
	s, ok := b.stamps[path]
	return ok && s == stamp{st.Ino, ctimeOf(st.Ctim)} && s.ctime.before(b.noted)
}

// before tells that t is certainly older than noted. A time without a
// fraction may come from a file system that keeps none.
func (t ctime) before(noted ctime) bool {
	return t.sec < noted.sec || t.sec == noted.sec && t.nsec != 0 && t.nsec < noted.nsec
}

// baseMagic begins the file that holds a Base, with its version.
const baseMagic = "builder-base-1\n"

// Save writes the base to a file, in about 30 bytes an entry.
func (b *Base) Save(path string) error {
	buf := []byte(baseMagic)
	buf = b.noted.append(buf)
	buf = binary.AppendUvarint(buf, uint64(len(b.stamps)))
	for p, s := range b.stamps {
		buf = binary.AppendUvarint(buf, uint64(len(p)))
		buf = append(buf, p...)
		buf = binary.AppendUvarint(buf, s.ino)
		buf = s.ctime.append(buf)
	}
	return os.WriteFile(path, buf, 0o600)
}

func (t ctime) append(buf []byte) []byte {
	return binary.AppendVarint(binary.AppendVarint(buf, t.sec), t.nsec)
}

// LoadBase reads what [Base.Save] wrote.
func LoadBase(path string) (*Base, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(data, []byte(baseMagic))
	if !ok {
		return nil, fmt.Errorf("%s: not a base of this version", path)
	}
	r := fieldReader{r: bufio.NewReader(bytes.NewReader(rest))}
	b := &Base{noted: r.ctime(), stamps: map[string]stamp{}}
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		p := r.string()
		b.stamps[p] = stamp{r.uint(), r.ctime()}
	}
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", path, r.err)
	}
	return b, nil
}
