package context

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/builder-oci/builder/internal/spool"
	"golang.org/x/sys/unix"
)

// Listing is what a walk gave, to be gone through any number of times: the
// directory may have changed since, and looking again takes longer. Few
// entries are kept in memory and many on disk.
type Listing struct {
	entries *spool.Spool
	writer  listingWriter
	count   int
	// matches are those of ListGlob: name, path, and how many entries each has.
	matches     *spool.Spool
	manyMatches int
}

// List walks, and keeps what it finds in the directory temp, as a file without
// a name. The caller closes the listing.
func (d *Dir) List(ctx context.Context, path, temp string) (*Listing, error) {
	l := newListing(temp)
	err := d.Walk(ctx, path, l.add)
	l.writer = listingWriter{} // nothing more comes
	if err != nil {
		_ = l.Close() // nobody has seen it
		return nil, err
	}
	return l, nil
}

// ListGlob lists all that a pattern names, as Glob does, each with what is below it.
// Where below isn't "", that is what is there in it, after the directories that lead
// there: nothing if one of them is none.
func (d *Dir) ListGlob(ctx context.Context, pattern, below, temp string) (*Listing, error) {
	l := newListing(temp)
	l.matches = spool.New(temp)
	var b []byte
	err := d.Glob(pattern, func(m Match) error {
		before := l.count
		err := d.walkBelow(ctx, m.Path, below, func(e *Entry) error {
			l.writer.before = "" // an entry may be read alone
			return l.add(e)
		})
		if err != nil {
			return err
		}
		l.manyMatches++
		b = spool.AppendText(spool.AppendText(b[:0], m.Name), m.Path)
		_, err = l.matches.Write(binary.AppendUvarint(b, uint64(l.count-before)))
		return err
	})
	l.writer = listingWriter{} // nothing more comes
	if err != nil {
		_ = l.Close() // nobody has seen it
		return nil, err
	}
	return l, nil
}

// walkBelow walks what is at a path below an entry, after that and the directories
// that lead there, as COPY --parents has it of other sources too: links among these
// lead nowhere.
func (d *Dir) walkBelow(ctx context.Context, path, below string, fn func(*Entry) error) error {
	top, err := d.Lstat(path)
	if err != nil {
		return err
	}
	switch {
	case !top.IsDir(): // of very many; Glob has kept it
		if err := top.usable(); err != nil && below == "" {
			return err
		}
		return fn(top)
	case below == "":
		return d.Walk(ctx, path, fn)
	}
	if err := fn(top); err != nil {
		return err
	}
	var leads []*Entry
	for at, rest := path, below; ; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		at = strings.TrimPrefix(at+"/"+part, "/")
		next, err := d.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case rest == "":
			for _, e := range leads {
				if err := fn(e); err != nil {
					return err
				}
			}
			return d.Walk(ctx, at, fn)
		case !next.IsDir():
			return nil
		}
		leads = append(leads, next)
	}
}

func newListing(temp string) *Listing {
	l := &Listing{entries: spool.New(temp)}
	l.writer.to = l.entries
	return l
}

func (l *Listing) add(e *Entry) error {
	l.count++
	return l.writer.write(e)
}

// Each calls fn for all entries, as [Dir.Walk] does. The entries may be kept.
func (l *Listing) Each(fn func(*Entry) error) error {
	from := spool.NewFields(l.entries.Reader())
	for range l.count {
		e := readEntry(from)
		if err := from.Err(); err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// EachMatch calls fn for all that ListGlob found: of each match the entry itself,
// and then what is below it. At is to be given to At.
func (l *Listing) EachMatch(fn func(m Match, e *Entry, at int64) error) error {
	from, matches := spool.NewFields(l.entries.Reader()), spool.NewFields(l.matches.Reader())
	for range l.manyMatches {
		m := Match{Name: matches.Text(), Path: matches.Text()}
		for range matches.Uint() {
			at := from.At()
			e := readEntry(from)
			if err := errors.Join(from.Err(), matches.Err()); err != nil {
				return err
			}
			if err := fn(m, e, at); err != nil {
				return err
			}
		}
	}
	return matches.Err()
}

// At gives the entry that EachMatch gave with a number.
func (l *Listing) At(at int64) (*Entry, error) {
	const little = 512
	from := spool.NewFields(l.entries.From(at, little))
	return readEntry(from), from.Err()
}

// Close gives the listing's files back.
func (l *Listing) Close() error {
	if l.matches == nil {
		return l.entries.Close()
	}
	return errors.Join(l.entries.Close(), l.matches.Close())
}

// listingWriter writes entries: path, stat data, and the link's target.
type listingWriter struct {
	to     io.Writer
	buf    []byte
	before string
}

func (w *listingWriter) write(e *Entry) error {
	b := spool.AppendPath(w.buf[:0], w.before, e.Path)
	w.before = e.Path
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
	w.buf = spool.AppendText(b, e.Linkname)
	_, err := w.to.Write(w.buf)
	return err
}

func readEntry(from *spool.Fields) *Entry {
	e := &Entry{Path: from.Path()}
	st := &e.Stat
	st.Mode, st.UID, st.GID = uint32(from.Uint()), uint32(from.Uint()), uint32(from.Uint())
	st.linked = from.Uint() == 1
	st.Size, st.Ino, st.Dev = int64(from.Uint()), from.Uint(), from.Uint()
	for _, t := range []*unix.Timespec{&st.Mtim, &st.Ctim} {
		set(&t.Sec, from.Int())
		set(&t.Nsec, int64(from.Uint()))
	}
	e.Linkname = from.Text()
	return e
}

// set sets a number that is 32 bits wide on some machines.
func set[T int32 | int64](to *T, n int64) { *to = T(n) }
