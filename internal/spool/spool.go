// Package spool keeps long lists out of memory: what is short stays there, and
// the rest is in a file without a name, which goes with the process.
package spool

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/builder-oci/builder/internal/atomicfile"
)

const (
	// shortest is how much is kept in memory before a file is made.
	shortest = 256 << 10
	// writeBuffer is how much is written to the file at once.
	writeBuffer = 64 << 10
)

// Spool is a sequence of bytes that is written to its end and then read, any
// number of times. The zero value isn't usable.
type Spool struct {
	dir              string
	shortest, buffer int
	mem              []byte // what isn't in the file
	file             *os.File
	size             int64 // of the file
}

// New gives an empty spool, which makes its file in dir.
func New(dir string) *Spool { return &Spool{dir: dir, shortest: shortest, buffer: writeBuffer} }

// Write appends.
func (s *Spool) Write(p []byte) (int, error) {
	s.mem = append(s.mem, p...)
	switch {
	case s.file == nil && len(s.mem) <= s.shortest, s.file != nil && len(s.mem) < s.buffer:
		return len(p), nil
	case s.file == nil:
		var err error
		if s.file, err = Unnamed(s.dir); err != nil {
			return 0, err
		}
	}
	n, err := s.file.Write(s.mem)
	s.size += int64(n)
	if cap(s.mem) > 2*s.buffer {
		s.mem = make([]byte, 0, 2*s.buffer)
	}
	s.mem = s.mem[:0]
	return len(p), err
}

// Reader reads what is in a spool.
type Reader interface {
	io.Reader
	io.ByteReader
}

// Reader reads from the beginning what has been written by now. Nothing may be
// written while it is in use.
func (s *Spool) Reader() Reader {
	if s.file == nil {
		return bytes.NewReader(s.mem)
	}
	return bufio.NewReader(io.MultiReader(io.NewSectionReader(s.file, 0, s.size), bytes.NewReader(s.mem)))
}

// From is Reader from a place on, with a buffer of a size.
func (s *Spool) From(at int64, buffer int) Reader {
	if s.file == nil {
		return bytes.NewReader(s.mem[at:])
	}
	inFile := min(at, s.size)
	rest := io.MultiReader(io.NewSectionReader(s.file, inFile, s.size-inFile), bytes.NewReader(s.mem[at-inFile:]))
	return bufio.NewReaderSize(rest, buffer)
}

// Size is how many bytes have been written.
func (s *Spool) Size() int64 { return s.size + int64(len(s.mem)) }

// ReadAt reads what has been written at a place.
func (s *Spool) ReadAt(p []byte, at int64) (n int, err error) {
	if at < s.size {
		n, err = s.file.ReadAt(p[:min(int64(len(p)), s.size-at)], at)
	}
	if err != nil || n == len(p) {
		return n, err
	}
	if inMem := at + int64(n) - s.size; inMem < int64(len(s.mem)) {
		n += copy(p[n:], s.mem[inMem:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close gives everything back.
func (s *Spool) Close() error {
	s.mem = nil
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Unnamed makes a file in dir, to be written and read, that goes when it is closed
// or the process ends.
func Unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, atomicfile.Prefix+"spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
