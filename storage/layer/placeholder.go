package layer

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// placesOf gives the places where something may have been made to mount on: the
// paths, and the directories that lead there.
func placesOf(paths []string) map[string]bool {
	places := map[string]bool{}
	for _, p := range paths {
		for p = clean(p); p != ""; p, _ = split(p) {
			places[p] = true
		}
	}
	return places
}

// dropPlaceholders takes them out of a directory's names.
func (w *walker) dropPlaceholders(d *dir) error {
	if len(w.places) == 0 {
		return nil
	}
	var failed error
	d.names.delete(func(n dirent) bool {
		if failed != nil || !w.places[join(d.Path, n.name)] {
			return false
		}
		was, err := d.below.has(n.name)
		if err != nil || was {
			failed = err
			return false
		}
		empty, err := w.isPlaceholder(d.fd, n.name, join(d.Path, n.name))
		if !w.vanished(err) {
			failed = err
		}
		return empty
	})
	return failed
}

// isPlaceholder tells an empty file from one that somebody has used, and a
// directory that holds such things alone.
func (w *walker) isPlaceholder(dirfd int, name, path string) (bool, error) {
	var st unix.Stat_t
	if err := lstatAt(dirfd, name, &st); err != nil || !w.places[path] {
		return false, err
	}
	switch typeOf(st.Mode) {
	case TypeReg:
		return st.Size == 0, nil
	case TypeDir:
	default:
		return false, nil
	}
	fd, err := openDir(dirfd, name)
	if err != nil {
		return false, err
	}
	defer closeFD(fd)
	names, err := readNames(fd)
	for n := range names.all() {
		if strings.HasPrefix(n.name, whPrefix) {
			continue // what marks the new directory as opaque
		}
		if only, err := w.isPlaceholder(fd, n.name, join(path, n.name)); err != nil || !only {
			return false, err
		}
	}
	return err == nil, err
}

// vanished tells that a name has gone since it was listed, of a tree that is in
// use and is only looked at.
func (w *walker) vanished(err error) bool {
	return w.o.Look && errors.Is(err, fs.ErrNotExist)
}
