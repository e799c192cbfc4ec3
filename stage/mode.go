package stage

import (
	"archive/tar"
	"io/fs"
	"strconv"

	mode "github.com/tonistiigi/dchapes-mode"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// modeChange is what --chmod does to the mode of what is copied.
type modeChange struct {
	octal    *int64 // the new mode, where it was given as a number
	symbolic mode.Set
}

// parseMode reads --chmod: an octal number up to 7777, or symbols as chmod(1)
// has them (u=rwX,go=rX). There is no umask: +x is a+x.
func parseMode(s string) (modeChange, error) {
	m, err := strconv.ParseInt(s, 8, 32)
	if err == nil && m >= 0 && m <= 0o7777 {
		return modeChange{octal: &m}, nil
	}
	var c modeChange
	if err == nil || '0' <= s[0] && s[0] <= '9' {
		return c, fault.New("give an octal mode from 0 to 7777, such as --chmod=0755", "--chmod=%s is no octal mode", s)
	}
	if c.symbolic, err = mode.ParseWithUmask(s, 0); err != nil {
		return c, fault.New("give an octal mode, such as --chmod=0755, or a symbolic one, such as --chmod=u=rwX,go=rX",
			"--chmod=%s is no mode", s)
	}
	return c, nil
}

// apply changes an entry's mode. A link has none of its own.
func (c modeChange) apply(e *layer.Entry) {
	switch {
	case e.Type == tar.TypeSymlink:
	case c.octal != nil:
		e.Mode = *c.octal
	default:
		e.Mode = modeBits(c.symbolic.Apply(fileMode(e)))
	}
}

// ofDirs is the mode of the directories that lead to what is copied, where the
// image lacks them: as BuildKit has it, an octal mode's permissions are theirs
// too.
func (c modeChange) ofDirs() int64 {
	if c.octal != nil {
		return *c.octal & 0o777
	}
	return dirMode
}

// dirMode is the mode of directories that nobody gave one.
const dirMode = 0o755

// Where the special bits stand in a tar header's mode and in Go's.
var specialBits = []struct {
	tar int64
	fs  fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

func fileMode(e *layer.Entry) fs.FileMode {
	m := fs.FileMode(e.Mode & 0o777)
	for _, b := range specialBits {
		if e.Mode&b.tar != 0 {
			m |= b.fs
		}
	}
	if e.Type == tar.TypeDir {
		m |= fs.ModeDir
	}
	return m
}

func modeBits(m fs.FileMode) int64 {
	bits := int64(m.Perm())
	for _, b := range specialBits {
		if m&b.fs != 0 {
			bits |= b.tar
		}
	}
	return bits
}
