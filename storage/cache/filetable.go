package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/bits"
	"os"
	"slices"

	"github.com/builder-oci/builder/internal/pathorder"
)

// A table of files: a magic, the length of the directory's path and that path;
// the entries in the order of a walk, in blocks; for each block its length, the
// number of its entries, its CRC-32C and the path of its first entry; and the
// offset of that index, with a CRC-32C of all but the blocks. Numbers are
// little-endian. Opening a table reads its ends, however long it is.
const (
	filesMagic    = "builder files 3\n"
	filesHeader   = len(filesMagic) + 2
	filesTrailer  = 8 + 4
	indexFixed    = 3*4 + 2
	entryFixed    = 5*8 + sha256.Size + 2
	maxRememberee = 1<<16 - 1 // a path's length has two bytes
	blockSize     = 32 << 10  // an entry that reaches it is the block's last
	maxIndex      = 16 << 20  // that of some 50 million files
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that a file is no whole table.
var errTorn = errors.New("not a whole table of files")

// fileTable is a table on the disk. Of each block it keeps some 80 bytes.
type fileTable struct {
	file    *os.File
	blocks  []blockRef
	entries int
	// level and last, the path of the last entry, are those of a table that
	// isn't kept.
	level int
	last  string
}

// blockRef tells of a block where it is and with which path it begins.
type blockRef struct {
	at         int64
	size, crc  uint32
	before, in uint32 // entries
	first      string
}

// openFileTable takes hold of the file, if it is a whole table.
func openFileTable(file *os.File) (*fileTable, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var head [filesHeader]byte
	var tail [filesTrailer]byte
	end := st.Size() - filesTrailer
	if end < int64(filesHeader) || !readAt(file, head[:], 0) || !readAt(file, tail[:], end) || string(head[:len(filesMagic)]) != filesMagic {
		return nil, errTorn
	}
	root := make([]byte, binary.LittleEndian.Uint16(head[len(filesMagic):]))
	first := int64(filesHeader + len(root))
	at := int64(binary.LittleEndian.Uint64(tail[:]))
	if at < first || at > end || end-at > maxIndex {
		return nil, errTorn
	}
	index := make([]byte, end-at)
	if !readAt(file, root, int64(filesHeader)) || !readAt(file, index, at) ||
		endsCRC(head[:], root, index, tail[:8]) != binary.LittleEndian.Uint32(tail[8:]) {
		return nil, errTorn
	}
	t := &fileTable{file: file}
	if !t.readIndex(string(index), first, at) {
		return nil, errTorn
	}
	return t, nil
}

// readAt fills data. What can't be read is taken for torn.
func readAt(file *os.File, data []byte, at int64) bool {
	n, _ := file.ReadAt(data, at)
	return n == len(data)
}

// endsCRC is the checksum of the parts of a table around its blocks.
func endsCRC(parts ...[]byte) (crc uint32) {
	for _, part := range parts {
		crc = crc32.Update(crc, castagnoli, part)
	}
	return crc
}

// readIndex tells whether the blocks of an index fill the place from one offset to
// another.
func (t *fileTable) readIndex(text string, at, end int64) bool {
	for len(text) > 0 {
		if len(text) < indexFixed || len(text)-indexFixed < lengthAt(text, indexFixed-2) {
			return false
		}
		var fixed [indexFixed]byte
		copy(fixed[:], text)
		le := binary.LittleEndian
		next := indexFixed + lengthAt(text, indexFixed-2)
		b := blockRef{
			at: at, size: le.Uint32(fixed[:]), in: le.Uint32(fixed[4:]), crc: le.Uint32(fixed[8:]),
			before: uint32(t.entries), first: text[indexFixed:next],
		}
		if b.size > blockSize+entryFixed+maxRememberee || b.in > b.size/entryFixed || int64(b.size) > end-at {
			return false
		}
		t.blocks = append(t.blocks, b)
		t.entries += int(b.in)
		at += int64(b.size)
		text = text[next:]
	}
	t.blocks = slices.Clip(t.blocks)
	return at == end
}

// fileBlock is a block that was read: its text, and where in it each entry is.
// A torn block has none.
type fileBlock struct {
	table  *fileTable
	number int
	text   string
	starts []uint32
	next   int // the entry that will be asked for next, if in a walk's order
}

// read reads a block.
func (t *fileTable) read(number int) *fileBlock {
	ref := t.blocks[number]
	b := &fileBlock{table: t, number: number}
	data := make([]byte, ref.size)
	if readAt(t.file, data, ref.at) && crc32.Checksum(data, castagnoli) == ref.crc {
		b.text = string(data)
		b.starts = startsOf(b.text, int(ref.in))
	}
	return b
}

// startsOf tells where a number of entries begin in a text that has no more and
// no less; nil where it has.
func startsOf(text string, entries int) []uint32 {
	starts := make([]uint32, 0, min(entries, len(text)/entryFixed))
	at := 0
	for ; len(text)-at >= entryFixed; at += entryFixed + lengthAt(text, at+entryFixed-2) {
		starts = append(starts, uint32(at))
	}
	if at != len(text) || len(starts) != entries {
		return nil
	}
	return starts
}

func lengthAt(text string, at int) int { return int(text[at]) | int(text[at+1])<<8 }

// name is the path of an entry.
func (b *fileBlock) name(i int) string {
	at := int(b.starts[i]) + entryFixed
	return b.text[at : at+lengthAt(b.text, at-2)]
}

// entry is an entry as it stands.
func (b *fileBlock) entry(i int) string {
	at := int(b.starts[i])
	return b.text[at : at+entryFixed+lengthAt(b.text, at+entryFixed-2)]
}

// find gives the number of the entry of a path, -1 where the block has none.
func (b *fileBlock) find(path string) int {
	i, ok := slices.BinarySearchFunc(b.starts, path, func(at uint32, path string) int {
		name := int(at) + entryFixed
		return pathorder.Compare(b.text[name:name+lengthAt(b.text, name-2)], path)
	})
	if !ok {
		return -1
	}
	b.next = i + 1
	return i
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

// blockCache has the blocks that were asked for last, the last first. Several
// goroutines that walk together need few.
type blockCache [8]*fileBlock

// find gives the entry of a path in a table as it stands, and its number, -1
// where there is none. A nil table is empty.
func (c *blockCache) find(t *fileTable, path string) (string, int) {
	if t == nil || t.last != "" && pathorder.Compare(path, t.last) > 0 {
		return "", -1
	}
	if b := c[0]; b != nil && b.table == t && b.next < len(b.starts) && b.name(b.next) == path {
		b.next++
		return b.entry(b.next - 1), int(t.blocks[b.number].before) + b.next - 1
	}
	number, ok := slices.BinarySearchFunc(t.blocks, path, func(b blockRef, path string) int {
		return pathorder.Compare(b.first, path)
	})
	if !ok {
		number--
	}
	if number < 0 {
		return "", -1
	}
	b := c.block(t, number)
	i := b.find(path)
	if i < 0 {
		return "", -1
	}
	return b.entry(i), int(t.blocks[number].before) + i
}

// block gives a block, which it reads where it hasn't got it.
func (c *blockCache) block(t *fileTable, number int) *fileBlock {
	at := slices.IndexFunc(c[:], func(b *fileBlock) bool { return b != nil && b.table == t && b.number == number })
	var b *fileBlock
	if at >= 0 {
		b = c[at]
	} else {
		b, at = t.read(number), len(c)-1
	}
	copy(c[1:at+1], c[:at])
	c[0] = b
	return b
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (s bitset) set(i int) { s[i/64] |= 1 << (i % 64) }

func (s bitset) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// count is how many numbers are in the set.
func (s bitset) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}
