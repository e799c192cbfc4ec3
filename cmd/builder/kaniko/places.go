package kaniko

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// CheckPlaces tells, before anything is built, of a flag by which something is to be
// written where it can't be.
func (p *Plan) CheckPlaces() error {
	for _, place := range []struct {
		name, path string
		check      func(string) error
	}{
		{"--tar-path", p.Tar, parentExists},
		{"--oci-layout-path", p.Layout, parentExists},
		{"--digest-file", p.Files.Digest, writable},
		{"--image-name-with-digest-file", p.Files.Name, writable},
		{"--image-name-tag-with-digest-file", p.Files.NameTag, writable},
		{"BUILDER_OUTPUT", p.Files.images(), writable},
	} {
		if place.path == "" {
			continue
		}
		if err := place.check(place.path); err != nil {
			return fault.New("name a place where you can write", "%s %s: %w", place.name, place.path, err)
		}
	}
	return nil
}

// parentExists is for what is written by who may have more ids than this process:
// whether that may write there isn't known yet.
func parentExists(path string) error {
	dir := filepath.Dir(filepath.Clean(path))
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil
	case err == nil && !st.IsDir():
		return &os.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	return err
}

// writable is for a file whose directory is made where it isn't there.
func writable(path string) error {
	st, err := os.Stat(path)
	if err == nil && st.IsDir() {
		return &os.PathError{Op: "open", Path: path, Err: unix.EISDIR}
	}
	for errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		if st, err = os.Stat(path); err == nil && !st.IsDir() {
			err = unix.ENOTDIR
		}
	}
	if err == nil {
		err = unix.Access(path, unix.W_OK)
	}
	var known *os.PathError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &os.PathError{Op: "open", Path: path, Err: err}
}
