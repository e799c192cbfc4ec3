package context

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// direntBuffer holds what one getdents gives: some 2,000 names.
const direntBuffer = 64 << 10

// names are those in a directory, of which there may be very many, sorted.
type names struct {
	text   []byte   // each with a zero behind it
	starts []uint32 // of the names in text
}

func (n names) len() int { return len(n.starts) }

// at gives a name.
func (n names) at(i int) string { return string(n.bytes(n.starts[i])) }

// below gives the paths of the names in a directory.
func (n names) below(dir string) []string {
	paths := make([]string, n.len())
	for i := range paths {
		paths[i] = n.path(dir, i)
	}
	return paths
}

// path gives the path of a name in a directory.
func (n names) path(dir string, i int) string {
	name := n.bytes(n.starts[i])
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

func (n names) bytes(start uint32) []byte {
	rest := n.text[start:]
	return rest[:bytes.IndexByte(rest, 0)]
}

// readNames gives the names of an open directory's entries.
func readNames(fd int, buf []byte) (names, error) {
	var list names
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return names{}, err
		}
		if n <= 0 {
			slices.SortFunc(list.starts, func(a, b uint32) int { return bytes.Compare(list.bytes(a), list.bytes(b)) })
			return list, nil
		}
		for rest := buf[:n]; len(rest) > direntName; {
			length := int(binary.NativeEndian.Uint16(rest[direntLength:]))
			name := rest[direntName:length]
			name = name[:bytes.IndexByte(name, 0)]
			if string(name) != "." && string(name) != ".." {
				list.starts = append(list.starts, uint32(len(list.text)))
				list.text = append(append(list.text, name...), 0)
			}
			rest = rest[length:]
		}
	}
}

// Where length and name stand in the kernel's struct linux_dirent64.
const (
	direntLength = 16
	direntName   = 19
)
