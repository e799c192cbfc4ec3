package layer

import (
	"archive/tar"
	"io"
	"strings"
)

// FromHeader turns a tar's header into an entry at path, whose content is read
// from the tar. It reports false for a type that makes no file.
func FromHeader(path string, h *tar.Header, content io.Reader) (*Entry, bool) {
	e := &Entry{
		Path: path, Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid), ModTime: h.ModTime,
		Linkname: h.Linkname, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, '\x00':
		e.Type, e.Size, e.Linkname = TypeReg, h.Size, ""
		e.Open = func() (io.ReadCloser, error) { return io.NopCloser(content), nil }
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
	default:
		return nil, false
	}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if ok && KeepXattr(name) {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = value
		}
	}
	return e, true
}
