package log

import (
	"bufio"
	"errors"
	"io"
)

// maxLine is the length of the longest line that is looked at: an entry of
// pieceSize has at most six times as many bytes.
const maxLine = 1 << 20

// each gives whole lines to fn, from where it stopped the last time, in buffer
// unless they are very short. It goes back to the beginning of a file that was
// emptied.
func (f *file) each(buffer *[]byte, fn func(line []byte) error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.at {
		f.at = 0
	}
	if info.Size() == f.at {
		return nil
	}
	section := io.NewSectionReader(f.File, f.at, f.limit-f.at)
	if f.in == nil {
		f.in = bufio.NewReaderSize(section, flushSize)
	}
	f.in.Reset(section)
	for {
		line, n, err := readLine(f.in, buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f.at += n
		if err := fn(line); err != nil {
			return err
		}
	}
}

// readLine gives the next line and its length in the file. Of a line longer than
// maxLine it gives nothing.
func readLine(in *bufio.Reader, buffer *[]byte) (line []byte, n int64, err error) {
	line, err = in.ReadSlice('\n')
	n = int64(len(line))
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, n, err
	}
	*buffer = (*buffer)[:0]
	for errors.Is(err, bufio.ErrBufferFull) || err == nil {
		if n <= maxLine {
			*buffer = append(*buffer, line...)
		}
		if err == nil {
			break
		}
		line, err = in.ReadSlice('\n')
		n += int64(len(line))
	}
	if n > maxLine {
		return nil, n, err
	}
	return *buffer, n, err
}
