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
	r.err = errors.Join(r.err, err)
	return v
}

func (r *fieldReader) int() int64 {
	v, err := binary.ReadVarint(r.r)
	r.err = errors.Join(r.err, err)
	return v
}

func (r *fieldReader) ctime() ctime { return ctime{r.int(), r.int()} }

func (r *fieldReader) string() string {
	n := r.uint()
	if n > unix.PathMax*64 {
		r.err = errors.Join(r.err, errors.New("damaged"))
	}
	if r.err != nil {
		return ""
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r.r, b)
	r.err = err
	return string(b)
}
