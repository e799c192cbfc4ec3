// Package dirnames reads the names in directories, of which there may be very many:
// a name takes its own length and six bytes.
package dirnames

import (
	"bytes"
	"encoding/binary"
	"io"
	"iter"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Buffer is how large a buffer for [Read] is good: it holds what one getdents64(2)
// gives, some 2,000 names.
const Buffer = 64 << 10

// List has the names in a directory, in bytewise order, each with the DT_ type that
// the directory keeps of it (DT_UNKNOWN on some file systems). The zero value is
// empty.
type List struct {
	// blocks have each name with its type before it and a zero behind. They aren't
	// moved when more come.
	blocks [][]byte
	starts []uint32 // where the names' types are: the block's number and the place in it
}

const (
	blockBits = 16
	blockSize = 1 << blockBits
)

// Read lists an open directory from its beginning, without . and .. in it.
func Read(fd int, buf []byte) (List, error) {
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		return List{}, err
	}
	var l List
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return List{}, err
		}
		if n <= 0 {
			l.sort()
			return l, nil
		}
		l.take(buf[:n])
	}
}

// take takes apart what getdents64(2) gave: inode and offset of 8 bytes each, length
// of the record in 2, type in 1, and the name up to a zero byte.
func (l *List) take(buf []byte) {
	const length, kind, name = 16, 18, 19
	for len(buf) > name {
		size := int(binary.NativeEndian.Uint16(buf[length:]))
		text := buf[name:size]
		text = text[:bytes.IndexByte(text, 0)]
		if string(text) != "." && string(text) != ".." {
			l.add(text, buf[kind])
		}
		buf = buf[size:]
	}
}

func (l *List) add(name []byte, kind byte) {
	last := len(l.blocks) - 1
	switch {
	case last < 0:
		l.blocks, last = make([][]byte, 1), 0 // which grows, as most directories are small
	case len(l.blocks[last])+len(name)+2 > blockSize:
		l.blocks = append(l.blocks, make([]byte, 0, blockSize))
		last++
	}
	text := l.blocks[last]
	l.starts = append(l.starts, uint32(last<<blockBits|len(text)))
	l.blocks[last] = append(append(append(text, kind), name...), 0)
}

func (l *List) sort() {
	slices.SortFunc(l.starts, func(a, b uint32) int { return bytes.Compare(l.name(a), l.name(b)) })
}

func (l List) name(start uint32) []byte {
	rest := l.blocks[start>>blockBits][start&(blockSize-1)+1:]
	return rest[:bytes.IndexByte(rest, 0)]
}

func (l List) kind(start uint32) byte { return l.blocks[start>>blockBits][start&(blockSize-1)] }

// Len is how many names there are.
func (l List) Len() int { return len(l.starts) }

// At gives a name.
func (l List) At(i int) string { return string(l.name(l.starts[i])) }

// Path gives the path of a name in dir; "" is the root.
func (l List) Path(dir string, i int) string {
	name := l.name(l.starts[i])
	if dir == "" {
		return string(name)
	}
	var path strings.Builder
	path.Grow(len(dir) + 1 + len(name))
	path.WriteString(dir)
	path.WriteByte('/')
	path.Write(name)
	return path.String()
}

// Has tells whether a name is in the list.
func (l List) Has(name string) bool {
	wanted := []byte(name)
	_, found := sort.Find(len(l.starts), func(i int) int { return bytes.Compare(wanted, l.name(l.starts[i])) })
	return found
}

// All gives the names with their types.
func (l List) All() iter.Seq2[string, byte] {
	return func(yield func(string, byte) bool) {
		for _, start := range l.starts {
			if !yield(string(l.name(start)), l.kind(start)) {
				return
			}
		}
	}
}

// Delete takes names out of the list.
func (l *List) Delete(which func(name string, kind byte) bool) {
	l.starts = slices.DeleteFunc(l.starts, func(start uint32) bool { return which(string(l.name(start)), l.kind(start)) })
}

// Add adds names of an unknown type, which aren't in the list.
func (l *List) Add(names iter.Seq[string]) {
	before := len(l.starts)
	for name := range names {
		l.add([]byte(name), unix.DT_UNKNOWN)
	}
	if len(l.starts) > before {
		l.sort()
	}
}

// Union gives the names of several lists that have none in common, in their order.
type Union struct {
	lists []List
	at    []int
}

// Name is a name in the list with a number.
type Name struct {
	Text string
	List int
}

// NewUnion begins with the first name.
func NewUnion(lists ...List) *Union { return &Union{lists, make([]int, len(lists))} }

// Next gives up to so many names; none after the last.
func (u *Union) Next(most int) []Name {
	left := 0
	for i, l := range u.lists {
		left += l.Len() - u.at[i]
	}
	names := make([]Name, min(most, left))
	for k := range names {
		first := -1
		for i, l := range u.lists {
			if u.at[i] < l.Len() && (first < 0 || bytes.Compare(u.head(i), u.head(first)) < 0) {
				first = i
			}
		}
		names[k] = Name{string(u.head(first)), first}
		u.at[first]++
	}
	return names
}

func (u *Union) head(i int) []byte { return u.lists[i].name(u.lists[i].starts[u.at[i]]) }

// All gives all that are left.
func (u *Union) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		const some = 256
		for names := u.Next(some); len(names) > 0; names = u.Next(some) {
			for _, name := range names {
				if !yield(name.Text) {
					return
				}
			}
		}
	}
}

// Pass goes on to a name, which comes after those that it was asked about before,
// and tells whether it is in one of the lists.
func (u *Union) Pass(name string) (found bool) {
	wanted := []byte(name)
	for i, l := range u.lists {
		order := -1
		for u.at[i] < l.Len() {
			if order = bytes.Compare(u.head(i), wanted); order >= 0 {
				break
			}
			u.at[i]++
		}
		found = found || u.at[i] < l.Len() && order == 0
	}
	return found
}
