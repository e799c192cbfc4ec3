package layer

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"os"
	"time"

	"github.com/builder-oci/builder/internal/pathorder"
	"github.com/builder-oci/builder/internal/spool"
)

// squashNotes is what the parts of a squash say, in a file: one part after the
// other, to be read side by side.
type squashNotes struct {
	file  *os.File
	parts []*partNotes
	// links has the files that have several names in a part, by linkKey, each with
	// the first name that is left of it, "" before there is one.
	links *firstNames
}

// partNotes reads what one part says.
type partNotes struct {
	left int // entries that are still to be read
	in   fieldReader
	head *Entry // what was read; nil at the end
}

// partBuffer is how much of a part is read at once.
const partBuffer = 16 << 10

// noteParts walks the parts, one after the other, and gives the first of each.
func noteParts(ctx context.Context, parts []Part, dir string) (_ *squashNotes, err error) {
	n := &squashNotes{links: newFirstNames(dir)}
	if n.file, err = spool.Unnamed(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = n.close() // err says what went wrong first
		}
	}()
	out := &counting{w: bufio.NewWriterSize(n.file, 64<<10)}
	for i, p := range parts {
		from := out.size
		count, err := n.notePart(ctx, i, p, out)
		if err != nil {
			return nil, err
		}
		text := io.NewSectionReader(n.file, from, out.size-from)
		n.parts = append(n.parts, &partNotes{left: count, in: fieldReader{r: bufio.NewReaderSize(text, partBuffer)}})
	}
	if err := out.w.Flush(); err != nil {
		return nil, err
	}
	for _, p := range n.parts {
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// notePart notes the entries of a part, and counts them.
func (n *squashNotes) notePart(ctx context.Context, number int, p Part, out *counting) (count int, err error) {
	rule := p.Time
	rule.foreign = p.Foreign
	src := p.Source
	if t, ok := src.(timed); ok {
		src = t.timed(rule)
	}
	var line []byte
	err = src.Walk(ctx, func(e *Entry) error {
		if e.Type == TypeLink {
			if _, err := n.links.of(linkKey(number, e.Linkname), ""); err != nil {
				return err
			}
		}
		count++
		at, err := rule.apply(e)
		if err != nil {
			return err
		}
		line = appendNote(line[:0], e, at)
		return out.write(line)
	})
	return count, err
}

// counting knows how much was written.
type counting struct {
	w    *bufio.Writer
	size int64
}

func (c *counting) write(p []byte) error {
	n, err := c.w.Write(p)
	c.size += int64(n)
	return err
}

// next gives what is said of the name that follows, by the lowest part first;
// nothing at the end.
func (n *squashNotes) next() (all []said, err error) {
	for i, p := range n.parts {
		if p.head == nil {
			continue
		}
		if len(all) > 0 {
			switch order := pathorder.Compare(p.head.Path, all[0].Path); {
			case order > 0:
				continue
			case order < 0:
				all = all[:0]
			}
		}
		all = append(all, said{p.head, i})
	}
	for _, s := range all {
		if err := n.parts[s.part].advance(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (n *squashNotes) close() error {
	n.links.close()
	return n.file.Close()
}

// advance reads one more entry.
func (p *partNotes) advance() error {
	p.head = nil
	if p.left == 0 {
		return nil
	}
	p.left--
	p.head = p.in.entry()
	return p.in.err
}

// What a note says of its entry beside the type.
const (
	noteWhiteout = 1 << iota
	noteImplied
)

// appendNote writes an entry as it will be packed, without what only the content
// tells.
func appendNote(buf []byte, e *Entry, mtime int64) []byte {
	text := func(s string) {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	var kind uint64
	if e.Whiteout {
		kind |= noteWhiteout
	}
	if e.Implied {
		kind |= noteImplied
	}
	buf = binary.AppendUvarint(buf, kind)
	buf = binary.AppendUvarint(buf, uint64(e.Type))
	text(e.Path)
	if e.Whiteout {
		return buf
	}
	for _, v := range []int64{e.Mode, int64(e.UID), int64(e.GID), mtime, e.Devmajor, e.Devminor} {
		buf = binary.AppendVarint(buf, v)
	}
	text(e.Linkname)
	if e.Type == TypeReg || e.Type == TypeLink {
		return buf
	}
	buf = binary.AppendUvarint(buf, uint64(len(e.Xattrs)))
	for name, value := range e.Xattrs {
		text(name)
		text(value)
	}
	return buf
}

// entry reads what appendNote wrote.
func (r *fieldReader) entry() *Entry {
	kind := r.uint()
	e := &Entry{Whiteout: kind&noteWhiteout != 0, Implied: kind&noteImplied != 0, Type: byte(r.uint()), Path: r.string()}
	if e.Whiteout {
		return e
	}
	e.Mode, e.UID, e.GID = r.int(), uint32(r.int()), uint32(r.int())
	e.ModTime = time.Unix(r.int(), 0)
	e.Devmajor, e.Devminor = r.int(), r.int()
	e.Linkname = r.string()
	if e.Type == TypeReg || e.Type == TypeLink {
		return e
	}
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		name := r.string()
		e.Xattrs[name] = r.string()
	}
	return e
}
