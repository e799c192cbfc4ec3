package log

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"
)

// All is the Tail of a whole log.
const All = -1

// ReadOptions say what of a log is read.
type ReadOptions struct {
	// Follow waits for what comes, until Ended tells that nothing more will. Idle,
	// where it isn't nil, is called when there is nothing more for the moment.
	Follow bool
	Ended  func() bool
	Idle   func() error
	// Tail is how many of the entries that are there are looked at, the last
	// ones; All where it is negative.
	Tail int
	// Since and Until, where they aren't zero, leave out what is older or newer.
	// Follow ends with Until.
	Since, Until time.Time
}

// Read gives the entries of the log in the container's directory dir to fn, the
// oldest first, and ends with its error. Without Follow these are the entries that
// are there when it begins. Lines that aren't entries are passed over; a log that
// isn't there is empty.
func Read(ctx context.Context, dir string, o ReadOptions, fn func(Entry) error) error {
	r := &reader{dir: dir, options: o, fn: fn}
	if o.Follow {
		return r.follow(ctx)
	}
	defer r.close()
	if err := r.begin(); err != nil {
		return err
	}
	for _, f := range r.files {
		f.limit = f.size
	}
	return r.readFiles(ctx)
}

// reader is a Read under way.
type reader struct {
	dir     string
	options ReadOptions
	fn      func(Entry) error
	files   []*file // that aren't read to the end; the oldest first
	line    []byte
}

// begin opens the files, and goes to where Tail begins.
func (r *reader) begin() (err error) {
	if r.files, err = openFiles(r.dir); err != nil || r.options.Tail < 0 {
		return err
	}
	left := r.options.Tail
	for i, f := range slices.Backward(r.files) {
		found, err := f.seekTail(left)
		if err != nil {
			return err
		}
		if left -= found; left == 0 {
			drop := r.files[:i]
			r.files = r.files[i:]
			return closeFiles(drop)
		}
	}
	return nil
}

func (r *reader) close() { _ = closeFiles(r.files) }

// readFiles reads what the files have, and leaves the last of them open.
func (r *reader) readFiles(ctx context.Context) error {
	for i, f := range r.files {
		if err := f.each(&r.line, func(line []byte) error { return r.take(ctx, line) }); err != nil {
			return err
		}
		if i < len(r.files)-1 {
			_ = f.Close() // was only read
		}
	}
	r.files = r.files[max(0, len(r.files)-1):]
	return nil
}

// take passes an entry on, if it is one and asked for.
func (r *reader) take(ctx context.Context, line []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, ok := decode(line)
	if !ok || e.Time.Before(r.options.Since) || !r.options.Until.IsZero() && e.Time.After(r.options.Until) {
		return nil
	}
	return r.fn(e)
}

// decode reads a line. After a loss of power, a file may have a hole of zeros.
func decode(line []byte) (e Entry, ok bool) {
	line = bytes.TrimLeft(line, "\x00")
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &e) != nil {
		return e, false
	}
	return e, e.Stream != "" && !e.Time.IsZero()
}

// file is one of the log's that is read.
type file struct {
	*os.File
	size  int64 // when it was opened
	at    int64 // where the first line that wasn't read begins
	limit int64 // where reading ends
	in    *bufio.Reader
}

// openFiles opens the files that are there, the oldest first. They are opened in
// the other order: a file that gets another name meanwhile is then met twice, and
// never missed.
func openFiles(dir string) (files []*file, err error) {
	for n := 0; ; n++ {
		f, err := os.Open(path(dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			if n == 0 {
				continue // it is just being replaced, or there never was one
			}
			break
		}
		var info os.FileInfo
		if err == nil {
			info, err = f.Stat()
		}
		if err != nil {
			return nil, errors.Join(err, closeFiles(files))
		}
		if len(files) > 0 && files[len(files)-1].is(info) {
			_ = f.Close() // was only read
			continue
		}
		files = append(files, &file{File: f, size: info.Size(), limit: math.MaxInt64})
	}
	slices.Reverse(files)
	return files, nil
}

func closeFiles(files []*file) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// is tells whether f is the file that info is of.
func (f *file) is(info os.FileInfo) bool {
	own, err := f.Stat()
	return err == nil && os.SameFile(own, info)
}

// seekTail goes to the last n lines, of those that were there when f was opened,
// and tells how many there are if it has less.
func (f *file) seekTail(n int) (found int, err error) {
	block := make([]byte, flushSize)
	for end := f.size; end > 0; {
		start := max(0, end-int64(len(block)))
		part := block[:end-start]
		if _, err := f.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			if found == n {
				f.at = start + int64(i) + 1
				return n, nil
			}
			found++
		}
		end = start
	}
	f.at = 0
	return found, nil
}
