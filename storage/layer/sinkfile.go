package layer

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// put writes an entry that is no directory into an existing one.
func (s *sink) put(path string, e *Entry) error {
	dir, base := split(path)
	fd, err := s.open(dir)
	if err != nil {
		return err
	}
	if err = s.make(fd, base, path, e); err == unix.EEXIST {
		if err = s.clear(path); err == nil {
			err = s.make(fd, base, path, e)
		}
	}
	return err
}

func (s *sink) make(fd int, base, path string, e *Entry) error {
	var err error
	switch e.Type {
	case TypeReg:
		return s.file(fd, base, path, e)
	case TypeSymlink:
		err = unix.Symlinkat(e.Linkname, fd, base)
	case TypeFifo:
		err = unix.Mknodat(fd, base, unix.S_IFIFO|0o600, 0)
	case TypeChar, TypeBlock:
		mode := uint32(unix.S_IFCHR)
		if e.Type == TypeBlock {
			mode = unix.S_IFBLK
		}
		err = unix.Mknodat(fd, base, mode|0o600, int(unix.Mkdev(uint32(e.Devmajor), uint32(e.Devminor))))
		if errors.Is(err, unix.EPERM) {
			err = fault.New("leave it out: a container gets its devices when it is run", "a device file, which only the machine's root can make: %w", err)
		}
	default:
		return fmt.Errorf("/%s: unknown type %q of entry", path, e.Type)
	}
	if err != nil {
		return err
	}
	if err := s.own(fd, base, path, e); err != nil {
		return err
	}
	if e.Type != TypeSymlink {
		if err := unix.Fchmodat(fd, base, s.mode(e), 0); err != nil {
			return err
		}
	}
	return setTime(fd, base, e.ModTime)
}

// file writes a regular file. The mode comes after the owner, because a change
// of owner takes setuid and capabilities away.
func (s *sink) file(dirfd int, base, path string, e *Entry) (err error) {
	fd, err := openat(dirfd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := rawFile{fd}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	if e.Size > 0 {
		if err := s.content(f, e); err != nil {
			return err
		}
	}
	if err := s.ownFD(fd, path, e); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, s.mode(e)); err != nil {
		return err
	}
	return setTime(dirfd, base, e.ModTime)
}

func (s *sink) content(f rawFile, e *Entry) error {
	r, err := e.Open()
	if err != nil {
		return err
	}
	if s.buf == nil {
		s.buf = make([]byte, 256<<10)
	}
	var to io.Writer = f
	if e.Size >= leaveHoles {
		to = holeWriter{f}
	}
	n, err := io.CopyBuffer(to, onlyReader{io.LimitReader(r, e.Size)}, s.buf)
	if err == nil && e.Size >= leaveHoles {
		err = unix.Ftruncate(f.fd, e.Size)
	}
	err = errors.Join(err, r.Close())
	if err == nil && n != e.Size {
		err = fmt.Errorf("/%s: has %d bytes and should have %d: %w", e.Path, n, e.Size, io.ErrUnexpectedEOF)
	}
	return err
}

// leaveHoles is the size from which on a file's zeros become holes.
const leaveHoles = 1 << 20

// holeBlock is the piece that becomes a hole, as a file system has it.
const holeBlock = 4 << 10

// holeWriter passes over blocks that are nothing but zeros.
type holeWriter struct{ rawFile }

func (w holeWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := run(rest, false)
		if _, err := w.rawFile.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
		n = run(rest, true)
		if _, err := unix.Seek(w.fd, int64(n), io.SeekCurrent); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// run is the length of those first blocks of p that are zeros, or aren't.
func run(p []byte, zeros bool) int {
	n := 0
	for n < len(p) {
		block := p[n:min(n+holeBlock, len(p))]
		if allZero(block) != zeros {
			break
		}
		n += len(block)
	}
	return n
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// onlyReader hides a reader's other ways of copying, which would bring their
// own buffers.
type onlyReader struct{ io.Reader }
