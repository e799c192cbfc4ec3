package cache

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/builder-oci/builder/internal/pathorder"
)

// placedEntry is an entry as it stands in a table, and its path.
type placedEntry struct{ path, text string }

// entryCursor goes through entries in the order of a walk, some at a time.
type entryCursor struct {
	batch []placedEntry // those that are at hand
	table *fileTable    // where more are, from a block on
	block int
	kept  bitset // which of the table count; nil for all
}

// freshCursor goes through entries that are in memory.
func freshCursor(entries map[string]fileEntry) *entryCursor {
	c := &entryCursor{batch: make([]placedEntry, 0, len(entries))}
	var text []byte
	for path, e := range entries {
		text = appendEntry(text[:0], path, &e)
		c.batch = append(c.batch, placedEntry{path, string(text)})
	}
	slices.SortFunc(c.batch, func(a, b placedEntry) int { return pathorder.Compare(a.path, b.path) })
	return c
}

// tableCursors go through tables, the last of them first.
func tableCursors(tables []*fileTable) []*entryCursor {
	cursors := make([]*entryCursor, len(tables))
	for i, t := range tables {
		cursors[len(tables)-1-i] = &entryCursor{table: t}
	}
	return cursors
}

// fill has an entry be at hand, unless it was the last.
func (c *entryCursor) fill() bool {
	for len(c.batch) == 0 && c.table != nil && c.block < len(c.table.blocks) {
		b := c.table.read(c.block)
		before := int(c.table.blocks[c.block].before)
		c.block++
		for i := range b.starts {
			if c.kept == nil || c.kept.has(before+i) {
				c.batch = append(c.batch, placedEntry{b.name(i), b.entry(i)})
			}
		}
	}
	return len(c.batch) > 0
}

// merged calls fn for each entry. Of several with one path it is that of the first
// cursor that has it.
func merged(from []*entryCursor, fn func(placedEntry) error) error {
	for {
		var least *entryCursor
		for _, c := range from {
			if c.fill() && (least == nil || pathorder.Compare(c.batch[0].path, least.batch[0].path) < 0) {
				least = c
			}
		}
		if least == nil {
			return nil
		}
		e := least.batch[0]
		for _, c := range from {
			if len(c.batch) > 0 && c.batch[0].path == e.path {
				c.batch = c.batch[1:]
			}
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}

// writeFileTable writes a table of what cursors go through, and tells its last
// path.
func writeFileTable(w io.Writer, root string, from []*entryCursor) (last string, err error) {
	head := append([]byte(nil), filesMagic...)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(root))) // a path is shorter than 4096 bytes
	head = append(head, root...)
	t := &tableWriter{out: bufio.NewWriterSize(w, blockSize), at: int64(len(head))}
	if _, err := t.out.Write(head); err != nil {
		return "", err
	}
	err = merged(from, func(e placedEntry) error {
		last = e.path
		return t.add(e)
	})
	if err != nil {
		return "", err
	}
	return last, t.finish(head)
}

// tableWriter writes blocks, and notes where they are.
type tableWriter struct {
	out     *bufio.Writer
	at      int64  // where the block will be
	block   []byte // what is in it
	entries uint32
	first   string
	index   []byte
}

func (t *tableWriter) add(e placedEntry) error {
	if t.entries == 0 {
		t.first = e.path
	}
	t.block = append(t.block, e.text...)
	t.entries++
	if len(t.block) < blockSize {
		return nil
	}
	return t.endBlock()
}

func (t *tableWriter) endBlock() error {
	if t.entries == 0 {
		return nil
	}
	le := binary.LittleEndian
	t.index = le.AppendUint32(t.index, uint32(len(t.block)))
	t.index = le.AppendUint32(t.index, t.entries)
	t.index = le.AppendUint32(t.index, crc32.Checksum(t.block, castagnoli))
	t.index = le.AppendUint16(t.index, uint16(len(t.first)))
	t.index = append(t.index, t.first...)
	_, err := t.out.Write(t.block)
	t.at += int64(len(t.block))
	t.block, t.entries = t.block[:0], 0
	return err
}

// finish writes the rest.
func (t *tableWriter) finish(head []byte) error {
	if err := t.endBlock(); err != nil {
		return err
	}
	le := binary.LittleEndian
	tail := le.AppendUint64(nil, uint64(t.at))
	tail = le.AppendUint32(tail, endsCRC(head, t.index, tail))
	for _, part := range [][]byte{t.index, tail} {
		if _, err := t.out.Write(part); err != nil {
			return err
		}
	}
	return t.out.Flush()
}

func appendEntry(data []byte, path string, e *fileEntry) []byte {
	le := binary.LittleEndian
	for _, n := range []int64{e.stat.Size, e.stat.Mtime, e.stat.Ctime} {
		data = le.AppendUint64(data, uint64(n))
	}
	data = le.AppendUint64(data, e.stat.Ino)
	data = le.AppendUint64(data, e.stat.Dev)
	data = append(data, e.sum[:]...)
	data = le.AppendUint16(data, uint16(len(path)))
	return append(data, path...)
}
