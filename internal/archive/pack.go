package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

// Source is what a tar is to be made of: a name in an open directory, or with "."
// that itself.
type Source struct {
	Dir  *os.File
	Name string
	// As is what the tar has in place of the name.
	As string
	// Owner gives an entry's owner for that of its file. Nil keeps it.
	Owner func(uid, gid int) (int, int)
	// Recorded gives files the owners that they have on record, because they can't
	// have them themselves. Elsewhere such a record is a program's invention.
	Recorded bool
}

// Pack writes a tar of a file, or of a directory with all beneath. Links are
// packed, not followed; of several names of a file the first holds it; sockets
// are left out, and what vanishes meanwhile is, too.
func Pack(ctx context.Context, w io.Writer, s Source) error {
	p := &packer{ctx: ctx, tar: tar.NewWriter(w), owner: s.Owner, recorded: s.Recorded, first: map[inode]string{}}
	if err := p.add(int(s.Dir.Fd()), s.Name, s.As); err != nil {
		return err
	}
	return p.tar.Close()
}

type inode struct{ dev, ino uint64 }

type packer struct {
	ctx   context.Context
	tar   *tar.Writer
	owner func(uid, gid int) (int, int)
	// recorded says that owners on record count.
	recorded bool
	first    map[inode]string // the first name of a file that has several
}

// add packs one name of a directory.
func (p *packer) add(dir int, name, as string) error {
	if err := p.ctx.Err(); err != nil {
		return context.Cause(p.ctx)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return named("lstat", as, err)
	}
	switch h := p.header(&st, as); modeOf(&st) {
	case fs.ModeDir:
		return p.addDir(dir, name, h)
	case 0:
		return p.addFile(dir, name, h)
	case fs.ModeSymlink:
		var err error
		if h.Linkname, err = readLink(dir, name); err != nil {
			return named("readlink", as, err)
		}
		return p.tar.WriteHeader(h)
	case fs.ModeSocket, fs.ModeIrregular:
		return nil
	default:
		return p.tar.WriteHeader(h)
	}
}

// header is what stat tells. Times are whole seconds, as docker has them.
func (p *packer) header(st *unix.Stat_t, as string) *tar.Header {
	modified, _ := st.Mtim.Unix()
	h := &tar.Header{
		Name: as, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(modified, 0), Format: tar.FormatPAX,
	}
	if p.owner != nil {
		h.Uid, h.Gid = p.owner(h.Uid, h.Gid)
	}
	switch modeOf(st) {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, as+"/"
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeDevice:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	case fs.ModeDevice | fs.ModeCharDevice:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	default:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	}
	return h
}

// recorded gives an entry the owner that its file has on record, because it can't
// have it itself.
func (p *packer) takeRecorded(f *os.File, h *tar.Header) {
	if !p.recorded {
		return
	}
	if uid, gid, ok := owner.Recorded(func(name string, value []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), name, value) }); ok {
		h.Uid, h.Gid = int(uid), int(gid)
	}
}

func (p *packer) addDir(dir int, name string, h *tar.Header) error {
	as := strings.TrimSuffix(h.Name, "/")
	f, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return named("open", as, err)
	}
	defer func() { _ = f.Close() }()
	p.takeRecorded(f, h)
	h.PAXRecords = attributes(f)
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return named("readdir", as, err)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := p.add(int(f.Fd()), n, as+"/"+n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// addFile packs as many bytes as the file has when it is opened, whatever is
// written to it meanwhile.
func (p *packer) addFile(dir int, name string, h *tar.Header) error {
	f, err := openAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return named("open", h.Name, err)
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return named("stat", h.Name, err)
	}
	if modeOf(&st) != 0 {
		return named("open", h.Name, unix.ENOENT) // something else has its name now
	}
	if id := (inode{st.Dev, st.Ino}); st.Nlink > 1 {
		if first, known := p.first[id]; known {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.tar.WriteHeader(h)
		}
		p.first[id] = h.Name
	}
	p.takeRecorded(f, h)
	h.Size, h.PAXRecords = st.Size, attributes(f)
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(contextReader{p.ctx, f}, h.Size))
	if err == nil && n < h.Size {
		_, err = io.CopyN(p.tar, zeros{}, h.Size-n)
	}
	return err
}

// zeros stand for what a file has lost while it was read.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, fmt.Errorf("reading: %w", context.Cause(r.ctx))
	}
	return r.r.Read(p)
}
