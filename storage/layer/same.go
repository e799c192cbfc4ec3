package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// sameDir tells whether a directory is itself as it was below. Its time counts
// where names in it came or went, and where it was set to one at which the step
// wasn't running. Otherwise it is the old one: fuse-overlayfs moves it whenever
// it copies a file up, the kernel doesn't, and nobody can tell afterwards.
func (w *walker) sameDir(d *dir, name string, above *lower, st *unix.Stat_t) (bool, error) {
	old, err := above.node(name, d.Path)
	d.Below = old != nil
	if err != nil || old == nil || old.Type != TypeDir {
		return false, err
	}
	if !d.moved {
		set, err := timeWasSet(d.fd, st, old)
		if err != nil {
			return false, err
		}
		if !set {
			d.keepTime(old)
		}
	}
	return w.sameEntry(d.Entry, old)
}

// timeWasSet tells whether a directory's time was given to it, rather than
// moved by what happened in it since the directory was made here. Where the
// file system doesn't keep when that was, it was certainly after the last change
// of the directory below.
func timeWasSet(fd int, st *unix.Stat_t, old *Node) (bool, error) {
	var x unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &x); err != nil {
		return false, err
	}
	made := time.Unix(old.Stat.Ctim.Unix())
	if x.Mask&unix.STATX_BTIME != 0 {
		made = time.Unix(x.Btime.Sec, int64(x.Btime.Nsec))
	}
	mtime := time.Unix(st.Mtim.Unix())
	return mtime.Before(made) || mtime.After(time.Unix(st.Ctim.Unix())), nil
}

// complete adds to e what stat doesn't tell.
func (w *walker) complete(fd int, name string, e *Entry, below *lower) error {
	if e.Type == TypeSymlink {
		var err error
		if e.Linkname, err = readlinkAt(fd, name); err != nil {
			return err
		}
	}
	if w.o.Unprivileged {
		return w.o.Owners.complete(e)
	}
	x, err := xattrsAt(fd, name)
	if err != nil {
		return err
	}
	e.Xattrs = x.kept
	if err := w.adopt(e, x); err != nil {
		return err
	}
	if w.o.ExactOwners || e.Type == TypeReg {
		return nil
	}
	if _, ok, err := w.o.Owners.Get(e.Path); err != nil || ok {
		return err
	}
	// A link or special file that a driver copied up has left its owner in
	// the record of the layer below.
	old, err := below.node(name, e.Path)
	if err == nil && old != nil && old.Type == e.Type && old.Linkname == e.Linkname {
		e.UID, e.GID = old.UID, old.GID
	}
	return err
}

// adopt gives e its owner in single-id mode.
func (w *walker) adopt(e *Entry, x xattrs) error {
	switch {
	case w.o.ExactOwners:
		return nil
	case w.o.Unprivileged:
		return w.o.Owners.complete(e)
	}
	return w.o.Owners.adopt(e, x)
}

// unchanged tells whether a file, link or special file is as it was below.
func (w *walker) unchanged(fd int, name string, e *Entry, below *lower) (bool, error) {
	old, err := below.node(name, e.Path)
	e.Below = old != nil
	if err != nil || old == nil {
		return false, err
	}
	if same, err := w.sameEntry(e, old); err != nil || !same {
		return false, err
	}
	if e.Type != TypeReg || e.Size == 0 {
		return true, nil
	}
	// The same size and time prove nothing: a file can be copied up and
	// changed within one second.
	now, err := openat(fd, name, openFileFlags, 0)
	if err != nil {
		return false, err
	}
	defer closeFD(now)
	before, err := below.openFile(name)
	if err != nil {
		return false, err
	}
	defer closeFD(before)
	if w.buf == nil {
		w.buf = make([]byte, compareBuffer)
	}
	return sameContent(rawFile{now}, rawFile{before}, w.buf)
}

// sameEntry compares all but content. Of two times only what the tar would show
// of them counts: whether a RUN came in the same second as the one before must
// not decide what stands in a layer whose times are clamped.
func (r TimeRule) sameEntry(e *Entry, old *Node) (bool, error) {
	e.timeKept = e.ModTime.Unix() == old.ModTime.Unix()
	if same := sameMeta(e, &old.Entry); e.timeKept || !same {
		return same, nil
	}
	now, err := r.of(e.ModTime)
	if err != nil {
		return false, err
	}
	before, err := r.of(old.ModTime)
	return now == before, err
}

// keepTime gives e the time that it had below.
func (e *Entry) keepTime(old *Node) { e.ModTime, e.timeKept = old.ModTime, true }

func sameMeta(a, b *Entry) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Size == b.Size && a.Linkname == b.Linkname &&
		a.Devmajor == b.Devmajor && a.Devminor == b.Devminor && sameXattrs(a.Xattrs, b.Xattrs)
}

// compareBuffer is what [sameContent] needs.
const compareBuffer = 128 << 10

func sameContent(a, b io.Reader, buf []byte) (bool, error) {
	bufA, bufB := buf[:len(buf)/2], buf[len(buf)/2:]
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, fmt.Errorf("comparing: %w", err)
			}
		}
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if errA != nil {
			return true, nil
		}
	}
}
