package build

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
)

// Tree is a place that takes the file system of the target. One of the fields is
// set.
type Tree struct {
	// Dir is a directory, which is made where it isn't there. What is in it
	// stays, but for what has the name of something in the image. Files belong
	// to the caller and lose the bits that go with an owner, setuid and setgid;
	// devices and attributes are left out.
	Dir string
	// Tar takes one uncompressed tar archive with owners and attributes.
	Tar func(write func(io.Writer) error) error
}

// export gives the target's file system away.
func (b *build) export(ctx context.Context, st *stage.State) error {
	if len(b.o.Trees) == 0 {
		return nil
	}
	files, err := b.runner.TreeFiles(ctx, st)
	if err != nil {
		return err
	}
	tree := wholeTree{files, b.o.Epoch}
	for _, t := range b.o.Trees {
		if t.Tar == nil {
			err = writeTree(ctx, tree, t.Dir)
		} else {
			err = t.Tar(func(w io.Writer) error {
				_, err := layer.Pack(ctx, tree, w, layer.PackOptions{Compression: layer.None})
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wholeTree is a tree as a layer that has all of it, but for its root. An epoch
// is the time of everything in it: a tree doesn't tell what a command wrote.
type wholeTree struct {
	files stage.Files
	epoch *time.Time
}

// Walk gives the entries. Of a file's names the first is the file, and the others
// are links to it.
func (t wholeTree) Walk(ctx context.Context, fn func(*layer.Entry) error) error {
	first := map[stage.FileID]string{}
	return t.files.Walk(ctx, "", func(f *stage.File) error {
		e := &f.Entry
		if e.Path == "" {
			return nil
		}
		if t.epoch != nil {
			e.ModTime = *t.epoch
		}
		if f.ID == (stage.FileID{}) {
			return fn(e)
		}
		if known, ok := first[f.ID]; ok {
			return fn(&layer.Entry{
				Path: e.Path, Type: layer.TypeLink, Linkname: known,
				Mode: e.Mode, UID: e.UID, GID: e.GID, ModTime: e.ModTime,
			})
		}
		first[f.ID] = e.Path
		return fn(e)
	})
}

// writeTree writes entries into a directory. Nothing is written through a link
// that is there already or comes along.
func writeTree(ctx context.Context, tree layer.Source, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New("choose another directory with -o", "the output directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := treeWriter{root}
	var dirs []*layer.Entry
	err = tree.Walk(ctx, func(e *layer.Entry) error {
		if e.Type == layer.TypeDir {
			dirs = append(dirs, &layer.Entry{Path: e.Path, Mode: e.Mode, ModTime: e.ModTime})
		}
		return fault.At("the output directory "+dir, w.write(e))
	})
	if err != nil {
		return err
	}
	// Directories last, the deepest first: until then files come into them.
	for _, e := range slices.Backward(dirs) {
		if err := errors.Join(w.setMode(e), w.setTime(e)); err != nil {
			return err
		}
	}
	return nil
}

type treeWriter struct{ root *os.Root }

func (w treeWriter) write(e *layer.Entry) error {
	old, err := w.root.Lstat(e.Path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if there && old.IsDir() && e.Type == layer.TypeDir {
		return nil
	}
	if there && (e.Type != layer.TypeReg || !old.Mode().IsRegular()) {
		if err := w.root.RemoveAll(e.Path); err != nil {
			return err
		}
	}
	switch e.Type {
	case layer.TypeDir:
		return w.root.Mkdir(e.Path, 0o700)
	case layer.TypeReg:
		return errors.Join(w.file(e), w.setTime(e))
	case layer.TypeLink:
		return w.root.Link(e.Linkname, e.Path)
	case layer.TypeSymlink:
		return errors.Join(w.root.Symlink(e.Linkname, e.Path), w.setTime(e))
	case layer.TypeFifo:
		return w.inParent(e, func(dir int, base string) error {
			return errors.Join(unix.Mkfifoat(dir, base, 0o600), unix.Fchmodat(dir, base, ordinaryMode(e), 0))
		})
	}
	return nil
}

// file replaces what is there by a whole file.
func (w treeWriter) file(e *layer.Entry) (err error) {
	aside := path.Join(path.Dir(e.Path), atomicfile.Prefix+"output")
	if err := w.root.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := w.root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.root.Remove(aside))
		}
	}()
	err = copyContent(f, e)
	if err == nil {
		err = unix.Fchmod(int(f.Fd()), ordinaryMode(e))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return w.root.Rename(aside, e.Path)
}

func copyContent(w io.Writer, e *layer.Entry) error {
	if e.Open == nil {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// ordinaryMode is a mode without the bits that mean something only for the
// owner that the file had.
func ordinaryMode(e *layer.Entry) uint32 { return uint32(e.Mode) & 0o777 }

func (w treeWriter) setMode(e *layer.Entry) error {
	return w.root.Chmod(e.Path, fs.FileMode(ordinaryMode(e)))
}

func (w treeWriter) setTime(e *layer.Entry) error {
	return w.inParent(e, func(dir int, base string) error {
		at := unix.NsecToTimespec(max(e.ModTime.UnixNano(), time.Unix(0, 0).UnixNano()))
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (w treeWriter) inParent(e *layer.Entry, fn func(dir int, base string) error) error {
	parent, err := w.root.OpenFile(path.Dir(e.Path), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer parent.Close()
	return fn(int(parent.Fd()), path.Base(e.Path))
}
