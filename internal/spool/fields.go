package spool

import (
	"encoding/binary"
	"errors"
	"io"
)

// AppendText appends a text with its length before it. Numbers are appended by
// encoding/binary's AppendUvarint and AppendVarint.
func AppendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// AppendPath appends a path by what it doesn't share with the one before.
func AppendPath(b []byte, before, path string) []byte {
	shared := 0
	for shared < min(len(before), len(path)) && before[shared] == path[shared] {
		shared++
	}
	return AppendText(binary.AppendUvarint(b, uint64(shared)), path[shared:])
}

// Fields reads what was appended, in its order. After an error all is zero.
type Fields struct {
	from   countingReader
	before []byte // the path before
	err    error
}

// NewFields reads from r.
func NewFields(r Reader) *Fields { return &Fields{from: countingReader{Reader: r}} }

// At is how many bytes have been read.
func (f *Fields) At() int64 { return f.from.read }

// countingReader knows how much was read.
type countingReader struct {
	Reader
	read int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.read += int64(n)
	return n, err
}

func (r *countingReader) ReadByte() (byte, error) {
	b, err := r.Reader.ReadByte()
	if err == nil {
		r.read++
	}
	return b, err
}

// Err is the first error.
func (f *Fields) Err() error { return f.err }

// Uint reads what AppendUvarint appended.
func (f *Fields) Uint() uint64 {
	n, err := binary.ReadUvarint(&f.from)
	return number(f, n, err)
}

// Int reads what AppendVarint appended.
func (f *Fields) Int() int64 {
	n, err := binary.ReadVarint(&f.from)
	return number(f, n, err)
}

func number[T int64 | uint64](f *Fields, n T, err error) T {
	f.err = errors.Join(f.err, err)
	if f.err != nil {
		return 0
	}
	return n
}

// Text reads what AppendText appended.
func (f *Fields) Text() string { return string(f.text(nil)) }

// Path reads what AppendPath appended.
func (f *Fields) Path() string {
	shared := min(f.Uint(), uint64(len(f.before)))
	f.before = f.text(f.before[:shared])
	return string(f.before)
}

// text appends what comes next.
func (f *Fields) text(b []byte) []byte {
	length := int(f.Uint())
	if length == 0 {
		return b
	}
	at := len(b)
	b = append(b, make([]byte, length)...)
	if _, err := io.ReadFull(&f.from, b[at:]); err != nil {
		f.err = err
	}
	return b
}
