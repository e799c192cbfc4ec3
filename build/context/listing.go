package context

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/builder-oci/builder/internal/spool"
	"golang.org/x/sys/unix"
)

// Listing is what a walk gave, to be gone through any number of times: the
// directory may have changed since, and looking again takes longer. Few
// entries are kept in memory and many on disk.
type Listing struct {
	entries *spool.Spool
	count   int
}

// List walks, and keeps what it finds in the directory temp, as a file without
// a name. The caller closes the listing.
func (d *Dir) List(ctx context.Context, path, temp string) (*Listing, error) {
	l := &Listing{entries: spool.New(temp)}
	w := listingWriter{to: l.entries}
	err := d.Walk(ctx, path, func(e *Entry) error {
		l.count++
		return w.write(e)
	})
	if err != nil {
		_ = l.Close() // nobody has seen it
		return nil, err
	}
	return l, nil
}

// Each calls fn for all entries, as [Dir.Walk] does. The entries may be kept.
func (l *Listing) Each(fn func(*Entry) error) error {
	r := listingReader{from: l.entries.Reader()}
	for range l.count {
		e := new(Entry)
		if err := r.read(e); err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Close gives the listing's file back.
func (l *Listing) Close() error { return l.entries.Close() }

// An entry in a listing: the length of what its path shares with the one
// before, the rest of the path, the stat data, and the link's target. Numbers
// are varints, texts have their length before them.
type listingWriter struct {
	to     io.Writer
	buf    []byte
	before string
}

func (w *listingWriter) write(e *Entry) error {
	shared := 0
	for shared < min(len(w.before), len(e.Path)) && w.before[shared] == e.Path[shared] {
		shared++
	}
	w.before = e.Path
	b := binary.AppendUvarint(w.buf[:0], uint64(shared))
	b = appendText(b, e.Path[shared:])
	st := &e.Stat
	linked := uint64(0)
	if st.linked {
		linked = 1
	}
	for _, n := range []uint64{uint64(st.Mode), uint64(st.UID), uint64(st.GID), linked, uint64(st.Size), st.Ino, st.Dev} {
		b = binary.AppendUvarint(b, n)
	}
	for _, t := range []unix.Timespec{st.Mtim, st.Ctim} {
		sec, nsec := t.Unix()
		b = binary.AppendUvarint(binary.AppendVarint(b, sec), uint64(nsec))
	}
	w.buf = appendText(b, e.Linkname)
	_, err := w.to.Write(w.buf)
	return err
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

type listingReader struct {
	from   spool.Reader
	before []byte
	err    error
}

func (r *listingReader) read(e *Entry) error {
	shared := r.number()
	r.before = r.text(r.before[:min(shared, uint64(len(r.before)))])
	e.Path = string(r.before)
	st := &e.Stat
	st.Mode, st.UID, st.GID = uint32(r.number()), uint32(r.number()), uint32(r.number())
	st.linked = r.number() == 1
	st.Size, st.Ino, st.Dev = int64(r.number()), r.number(), r.number()
	st.Mtim, st.Ctim = r.time(), r.time()
	e.Linkname = string(r.text(nil))
	return r.err
}

func (r *listingReader) number() uint64 {
	n, err := binary.ReadUvarint(r.from)
	if err != nil && r.err == nil {
		r.err = err
	}
	return n
}

func (r *listingReader) time() unix.Timespec {
	sec, err := binary.ReadVarint(r.from)
	if err != nil && r.err == nil {
		r.err = err
	}
	var t unix.Timespec
	set(&t.Sec, sec)
	set(&t.Nsec, int64(r.number()))
	return t
}

// set sets a number that is 32 bits wide on some machines.
func set[T int32 | int64](to *T, n int64) { *to = T(n) }

// text appends what comes next.
func (r *listingReader) text(b []byte) []byte {
	length := int(r.number())
	if r.err != nil || length == 0 {
		return b
	}
	at := len(b)
	b = append(b, make([]byte, length)...)
	if _, err := io.ReadFull(r.from, b[at:]); err != nil {
		r.err = err
	}
	return b
}
