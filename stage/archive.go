package stage

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// archive puts what a tar archive holds below dest. Links that lead to
// directories are followed, as an unpacking tar would.
func (p *placement) archive(f *File, dest string) error {
	defer func(dirs int64) { p.dirs = dirs }(p.dirs)
	p.dirs = dirMode // --chmod isn't for what an archive holds
	if err := p.makeDirs(dest); err != nil {
		return err
	}
	return archiveEntries(&f.Entry, func(e *layer.Entry) error {
		if e.Path == "" {
			return nil
		}
		target, err := p.beneath(dest, e.Path)
		if err != nil {
			return err
		}
		if err := p.makeDirs(parentDir(target)); err != nil {
			return err
		}
		if e.Type == tar.TypeLink {
			if e.Linkname, err = p.beneath(dest, e.Linkname); err != nil {
				return err
			}
		}
		if keep, err := p.giveWay(target, e); keep || err != nil {
			return err
		}
		return p.set(target, &File{Entry: *e, place: noPlace})
	})
}

// noPlace is the place of entries that are none of the selection's own.
const noPlace = -1

// beneath is where a name of the archive is, links on its way followed.
func (p *placement) beneath(dest, name string) (string, error) {
	dir, err := p.follow(path.Join(dest, parentDir(name)))
	return path.Join(dir, path.Base(name)), err
}

// giveWay forgets what has to make room for an entry of another kind than what stands
// there, as an unpacking tar does. It says where that is to stay: a link in the place
// of the directory that it leads to.
func (p *placement) giveWay(target string, e *layer.Entry) (keep bool, err error) {
	old, err := p.lookup(target)
	if err != nil || old.kind == 0 || old.isDir() && e.Type == tar.TypeDir {
		return false, err
	}
	if old.isDir() == (e.Type == tar.TypeDir) {
		return false, p.goes(target)
	}
	if old.kind == tar.TypeSymlink {
		led, err := p.follow(target)
		if err != nil {
			return false, err
		}
		to, err := p.lookup(led)
		if err != nil || to.isDir() {
			return err == nil, err
		}
	}
	p.straight = ""
	return false, p.goes(target)
}

// isArchive says whether a file is a tar archive, plain or compressed: whether
// a tar header can be read from it.
func isArchive(e *layer.Entry) (bool, error) {
	f, err := e.Open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, layer.HeadSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, nil //nolint:nilerr // what can't be read fails where it is packed
	}
	from := io.MultiReader(bytes.NewReader(head[:n]), f)
	if layer.Compressor(head[:n]) == string(layer.None) { // as most of very many files are
		return beginsTar(from), nil
	}
	r, _, err := layer.Decompress(from)
	if err != nil {
		return false, nil //nolint:nilerr // what can't be decompressed is no archive
	}
	defer r.Close()
	return beginsTar(r), nil
}

func beginsTar(r io.Reader) bool {
	h, err := tar.NewReader(r).Next()
	return err == nil && h != nil
}

// archiveEntries calls fn with each entry of a tar archive, in its order. The
// entries' content can be read only during fn.
func archiveEntries(e *layer.Entry, fn func(*layer.Entry) error) error {
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	r, _, err := layer.Decompress(f)
	if err != nil {
		return err
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return brokenArchive(e.Path, err)
		}
		entry, err := entryOf(h, archiveContent{tr, e.Path})
		if err != nil {
			return err
		}
		if entry == nil {
			continue
		}
		if err := fn(entry); err != nil {
			return err
		}
	}
}

// archiveContent is a file's content in an archive. An error in it names the
// archive.
type archiveContent struct {
	io.Reader
	archive string
}

func (c archiveContent) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = brokenArchive(c.archive, err)
	}
	return n, err
}

func brokenArchive(name string, err error) error {
	return fault.New("make the archive anew, or COPY it where it should stay packed",
		"the archive %s can't be read: %w", name, err)
}

// entryOf turns a header into an entry; nil for what makes no file.
func entryOf(h *tar.Header, content io.Reader) (*layer.Entry, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	e, ok := layer.FromHeader(strings.Trim(path.Clean("/"+h.Name), "/"), h, content)
	if !ok {
		return nil, fault.New("", "the archive's entry %q has the unknown type %q", h.Name, h.Typeflag)
	}
	if e.Type == tar.TypeLink {
		e.Linkname = strings.Trim(path.Clean("/"+h.Linkname), "/")
	}
	return e, nil
}
