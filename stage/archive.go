package stage

import (
	"archive/tar"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// isArchive says whether a file is a tar archive, plain or compressed: whether
// a tar header can be read from it.
func isArchive(e *layer.Entry) (bool, error) {
	f, err := e.Open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	r, _, err := layer.Decompress(f)
	if err != nil {
		return false, nil //nolint:nilerr // what can't be decompressed is no archive
	}
	defer r.Close()
	h, err := tar.NewReader(r).Next()
	return err == nil && h != nil, nil
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
			return fault.New("make the archive anew, or COPY it where it should stay packed",
				"the archive %s can't be read: %w", e.Path, err)
		}
		entry, err := entryOf(h, tr)
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

// entryOf turns a header into an entry; nil for what makes no file.
func entryOf(h *tar.Header, content io.Reader) (*layer.Entry, error) {
	name := strings.Trim(path.Clean("/"+h.Name), "/")
	e := &layer.Entry{
		Path: name, Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid,
		Size: h.Size, ModTime: h.ModTime, Linkname: h.Linkname,
		Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok && layer.KeepXattr(attr) {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	switch h.Typeflag {
	case tar.TypeReg, '\x00':
		e.Type = tar.TypeReg
		e.Open = func() (io.ReadCloser, error) { return io.NopCloser(content), nil }
	case tar.TypeLink:
		e.Size = 0
		e.Linkname = strings.Trim(path.Clean("/"+h.Linkname), "/")
	case tar.TypeDir, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		e.Size = 0
	case tar.TypeXGlobalHeader:
		return nil, nil
	default:
		return nil, fault.New("", "the archive's entry %q has the unknown type %q", h.Name, h.Typeflag)
	}
	return e, nil
}
