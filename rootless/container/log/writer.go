package log

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

const (
	// pieceSize is how much of a line is written though it hasn't ended, as docker
	// has it.
	pieceSize = 16 << 10
	// flushSize is how much is written at once.
	flushSize = 64 << 10
)

// Writer writes a container's log. Its methods, and its streams', may be used at
// the same time. It holds less than 300 KiB, whatever comes.
type Writer struct {
	dir     string
	options Options

	mu      sync.Mutex
	file    *os.File // nil after Close, or where the file couldn't be made
	size    int64    // of file
	pending []byte   // whole entries, to be written at once
	entries int      // how many are pending
	streams []*stream
	lost    int // entries that couldn't be written
	cause   error
	closed  bool
}

// Open opens the log of the container whose directory dir is. It goes on where an
// earlier one ended, and mends what that has left torn.
func Open(dir string, o Options) (*Writer, error) {
	o.MaxFile = max(o.MaxFile, 1)
	w := &Writer{dir: dir, options: o}
	if o.Driver == DriverNone {
		w.closed = true
		return w, nil
	}
	return w, w.open()
}

func (w *Writer) open() error {
	f, err := os.OpenFile(path(w.dir, 0), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := wholeLines(f)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.size = f, size
	return nil
}

// wholeLines gives the length of a file without a last line that doesn't end.
func wholeLines(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	b := make([]byte, 4<<10)
	for err == nil && end > 0 {
		start := max(0, end-int64(len(b)))
		b = b[:end-start]
		if _, err = f.ReadAt(b, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, err
}

// Stream gives what takes the output of one of the program's streams, Stdout or
// Stderr. A Write never fails, nor does it wait for room: what a full disk has no
// room for is lost, and the log says so when there is room again. Asked for once
// more, as for a program that is started again, it begins a new line.
func (w *Writer) Stream(name string) io.Writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.streams {
		if s.name == name {
			s.end()
			w.flush()
			return s
		}
	}
	s := &stream{writer: w, name: name}
	w.streams = append(w.streams, s)
	return s
}

// Close writes what has no end of line yet, and closes the file. What comes later
// is dropped.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	for _, s := range w.streams {
		s.end()
	}
	w.flush()
	w.closed = true
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// stream is one of a program's.
type stream struct {
	writer  *Writer
	name    string
	partial []byte // of a line that hasn't ended, less than pieceSize
}

func (s *stream) Write(p []byte) (int, error) {
	w := s.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceSize-len(s.partial))]
		end := bytes.IndexByte(piece, '\n') + 1
		if end > 0 {
			piece = piece[:end]
		}
		rest = rest[len(piece):]
		s.take(piece, end > 0)
	}
	w.flush()
	return len(p), nil
}

// take takes a piece that ends a line, or is no longer than what partial lacks.
func (s *stream) take(piece []byte, ends bool) {
	if ends && len(s.partial) == 0 {
		s.writer.add(piece, s.name)
		return
	}
	s.partial = append(s.partial, piece...)
	switch {
	case ends:
		s.writer.add(s.partial, s.name)
		s.partial = s.partial[:0]
	case len(s.partial) == pieceSize:
		whole := wholeRunes(s.partial)
		s.writer.add(s.partial[:whole], s.name)
		s.partial = append(s.partial[:0], s.partial[whole:]...)
	}
}

// end gives up waiting for a line's end.
func (s *stream) end() {
	if len(s.partial) > 0 {
		s.writer.add(s.partial, s.name)
		s.partial = s.partial[:0]
	}
}

// wholeRunes gives the length of text without a last rune that isn't whole.
func wholeRunes(text []byte) int {
	for back := 1; back < utf8.UTFMax; back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				return start
			}
			break
		}
	}
	return len(text)
}

// add puts an entry to those that are to be written.
func (w *Writer) add(text []byte, stream string) {
	if w.options.MaxSize > 0 && w.size+int64(len(w.pending)) >= w.options.MaxSize {
		w.flush()
		w.rotate()
	}
	w.pending = appendEntry(w.pending, text, stream, time.Now().UTC())
	if w.entries++; len(w.pending) >= flushSize {
		w.flush()
	}
}

// flush writes what is pending. It is lost where that fails.
func (w *Writer) flush() {
	if w.entries == 0 {
		return
	}
	if w.lost > 0 {
		w.pending = append(w.notice(), w.pending...)
	}
	kept, err := w.write(w.pending)
	if err != nil {
		w.lost += w.entries - kept
		w.cause = err
	} else {
		w.lost = 0
	}
	w.pending, w.entries = w.pending[:0], 0
}

// notice is the entry that tells what is missing.
func (w *Writer) notice() []byte {
	cause := w.cause
	var errno syscall.Errno
	if errors.As(cause, &errno) {
		cause = errno
	}
	text := fmt.Sprintf("builder: %d lines of output are missing here: %v\n", w.lost, cause)
	return appendEntry(nil, []byte(text), Stderr, time.Now().UTC())
}

// write appends lines to the file. Where they don't all fit, it keeps those that
// do, and tells how many; but none where the first is a notice.
func (w *Writer) write(lines []byte) (kept int, err error) {
	if w.file == nil {
		if err := w.open(); err != nil {
			return 0, err
		}
	}
	n, err := w.file.Write(lines)
	w.size += int64(n)
	if err == nil || n == 0 {
		return 0, err
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	if w.lost > 0 {
		whole = 0
	}
	// Who reads has seen nothing of what goes now: he takes whole lines only, or
	// begins again.
	end, seekErr := w.file.Seek(0, io.SeekEnd)
	if seekErr != nil || w.file.Truncate(end-int64(n-whole)) != nil {
		return 0, err // a torn line is passed over
	}
	w.size = end - int64(n-whole)
	return bytes.Count(lines[:whole], []byte("\n")), err
}

// rotate begins a new file. Where that fails, the old one goes on.
func (w *Writer) rotate() {
	if w.file == nil {
		return
	}
	if _, err := os.Lstat(path(w.dir, 0)); err == nil { // else they were moved the last time
		w.shift()
	}
	old := w.file
	if w.file = nil; w.open() != nil {
		w.file = old // has another name, or none
		return
	}
	_ = old.Close() // each write has told what it had to tell
}

// shift gives each file the name of the one before it. The oldest goes.
func (w *Writer) shift() {
	if w.options.MaxFile == 1 {
		// Not emptied: who reads it has all of it still.
		_ = os.Remove(path(w.dir, 0))
		return
	}
	for n := w.options.MaxFile - 1; n > 0; n-- {
		_ = os.Rename(path(w.dir, n-1), path(w.dir, n)) // the older ones may not be there yet
	}
}
