package stage

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/builder-oci/builder/storage/layer"
)

const (
	// longCopy is the number of bytes from which on a copy tells how far it is.
	longCopy = 16 << 20
	// copiedPause is the least time between two of its events.
	copiedPause = 100 * time.Millisecond
)

// copyMeter counts what is read of the files that a step copies.
type copyMeter struct {
	report func(Event)
	at     Step
	total  int64
	read   atomic.Int64
	told   atomic.Int64 // when, in nanoseconds since begun
	begun  time.Time
}

// meter counts what is read of a large selection's files; nil where it is small.
func (s *selection) meter(r *Runner) *copyMeter {
	if s.total < longCopy {
		return nil
	}
	m := &copyMeter{report: r.Report, at: s.at, begun: time.Now(), total: s.total}
	m.tell(0)
	return m
}

// watch has an entry that is copied count itself.
func (m *copyMeter) watch(_ *File, e *layer.Entry) {
	if m != nil {
		m.count(e)
	}
}

func (m *copyMeter) count(e *layer.Entry) {
	if e.Open == nil {
		return
	}
	open := e.Open
	e.Open = func() (io.ReadCloser, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		return &meteredFile{f, m}, nil
	}
}

// add counts. Of readers that come at once one tells.
func (m *copyMeter) add(n int) {
	if m == nil {
		return
	}
	read := m.read.Add(int64(n))
	now, told := int64(time.Since(m.begun)), m.told.Load()
	if now-told >= int64(copiedPause) && m.told.CompareAndSwap(told, now) {
		m.tell(read)
	}
}

// tell reports. A file that was compared before it was copied counts twice.
func (m *copyMeter) tell(read int64) {
	m.report(Copied{Step: m.at, Bytes: min(read, m.total), Total: m.total})
}

type meteredFile struct {
	io.ReadCloser
	m *copyMeter
}

func (f *meteredFile) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	f.m.add(n)
	return n, err
}

// ReadAt reads what isn't to be counted.
func (f *meteredFile) ReadAt(p []byte, at int64) (int, error) { return readAt(f.ReadCloser, p, at) }

// readAt reads nothing where r can only be read from its beginning.
func readAt(r io.Reader, p []byte, at int64) (int, error) {
	if from, ok := r.(io.ReaderAt); ok {
		return from.ReadAt(p, at)
	}
	return 0, io.EOF
}
