package layer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// fieldReader reads numbers and texts of a file of ours. It keeps the first error.
type fieldReader struct {
	r   *bufio.Reader
	err error
}

func (r *fieldReader) uint() uint64 {
	v, err := binary.ReadUvarint(r.r)
	r.keep(err)
	return v
}

func (r *fieldReader) int() int64 {
	v, err := binary.ReadVarint(r.r)
	r.keep(err)
	return v
}

func (r *fieldReader) ctime() ctime { return ctime{r.int(), r.int()} }

func (r *fieldReader) string() string {
	n := r.uint()
	if n > unix.PathMax*64 {
		r.keep(errors.New("damaged"))
	}
	if r.err != nil {
		return ""
	}
	return string(r.bytes(int(n)))
}

func (r *fieldReader) bytes(n int) []byte {
	b := make([]byte, n)
	_, err := io.ReadFull(r.r, b)
	r.keep(err)
	return b
}

func (r *fieldReader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}
