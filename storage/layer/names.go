package layer

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// dir is a directory on the way.
type dir struct {
	*Entry
	fd    int
	below *lower
	// whole says that the directory's names are all that the new tree has
	// there. Otherwise they lie over those below.
	whole   bool
	names   dirents
	deleted map[string]bool // names below that are gone, devices for whiteouts aside
	moved   bool            // names came or went
}

// list reads a directory's names, and finds out which of those below are gone.
func (w *walker) list(d *dir) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	var err error
	if d.names, err = readNames(d.fd); err != nil {
		return pathError("readdir", d.Path, err)
	}
	if err := w.markers(d); err != nil {
		return err
	}
	if err := w.dropPlaceholders(d); err != nil {
		return pathError("readdir", d.Path, err)
	}
	if d.whole {
		if err := d.below.missing(d.names, d.deleted); err != nil {
			return pathError("readdir", d.Path, err)
		}
	}
	return pathError("readdir", d.Path, w.compareNames(d))
}

// markers takes the names that storage drivers keep for themselves out of a
// directory's.
func (w *walker) markers(d *dir) error {
	d.deleted = map[string]bool{}
	var bad error
	d.names.delete(func(n dirent) bool {
		name, ok := strings.CutPrefix(n.name, whPrefix)
		if !ok {
			return false
		}
		switch {
		case w.o.Flavor != Fuse && w.o.Flavor != Stacked:
			bad = reservedName(join(d.Path, n.name))
		case n.name == whOpaque || n.name == whFuseOpaque:
			d.whole = true
		default:
			d.deleted[name] = true
		}
		return true
	})
	for n := range d.names.all() {
		delete(d.deleted, n.name)
	}
	return bad
}

// compareNames finds out whether a directory has other names than below.
func (w *walker) compareNames(d *dir) error {
	if w.base != nil && !d.whole {
		return nil
	}
	if err := d.below.expect(d.names.Len()); err != nil {
		return err
	}
	for n := range d.names.all() {
		absent, err := isAbsent(d.fd, n)
		if w.vanished(err) {
			continue
		}
		if err != nil {
			return err
		}
		was, err := d.below.has(n.name)
		if err != nil {
			return err
		}
		if was == absent {
			d.moved = true
			return nil
		}
	}
	for name := range d.deleted {
		if was, err := d.below.has(name); err != nil || was {
			d.moved = true
			return err
		}
	}
	return nil
}

// isReserved tells names that layers keep for deletions.
func isReserved(base string) bool { return strings.HasPrefix(base, whPrefix) }

// hasReserved tells whether one of a path's names is reserved.
func hasReserved(path string) bool {
	return isReserved(path) || strings.Contains(path, "/"+whPrefix)
}

// CheckNames is an error where a step left a name in its directory that no
// layer can hold, as packing would find it. It only lists directories, so that
// it can be asked before the step counts as done. FUSE lets nobody make such a
// name, nor does [DirWriter].
func CheckNames(ctx context.Context, dir string, flavor Flavor) error {
	if flavor == Fuse || flavor == Stacked {
		return nil
	}
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer closeFD(fd)
	return checkNames(ctx, fd, "")
}

func checkNames(ctx context.Context, fd int, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return pathError("readdir", dir, err)
	}
	for d := range names.all() {
		if isReserved(d.name) {
			return reservedName(join(dir, d.name))
		}
		typ, err := d.typeIn(fd)
		if err != nil {
			return pathError("lstat", join(dir, d.name), err)
		}
		if typ != unix.DT_DIR {
			continue
		}
		path := join(dir, d.name)
		sub, err := openDir(fd, d.name)
		if err != nil {
			return pathError("open", path, err)
		}
		err = checkNames(ctx, sub, path)
		closeFD(sub)
		if err != nil {
			return err
		}
	}
	return nil
}

func reservedName(path string) error {
	return fault.New("rename the file, or remove it in the same RUN",
		"/%s can't be in an image: names that begin with %q mean deleted files in a layer", path, whPrefix)
}
