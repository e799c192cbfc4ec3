package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/spool"
)

// FixImplied completes a directory that [Unpack] wrote, when the layers below
// are complete: lower is their tree, without dir. It leaves p as it is.
//
// Directories that the tar lacks get mode, owner, attributes and time from
// below, so that a layer with nothing but root/x doesn't open /root. Where
// something else than a directory lies below, a directory hides it, as it does
// under docker and podman. Hard links to lower files become copies, as when an
// overlay copies a file up. Whiteouts of what isn't there go away: the kernel
// would list them in directories that only one layer has.
func FixImplied(ctx context.Context, dir string, lower *Tree, p *Pending, o DirOptions) error {
	if p == nil {
		return nil
	}
	s, err := newSink(dir, o)
	if err != nil {
		return err
	}
	defer s.close()
	f := &fixer{sink: s, lower: lower}
	for _, step := range []func(*Pending) error{f.links, f.whiteouts, f.root, f.dirs, f.implied} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(p); err != nil {
			return err
		}
	}
	return s.finish()
}

type fixer struct {
	*sink
	lower *Tree
}

// at gives what lies below path, or nil.
func (f *fixer) at(path string) (*Node, error) {
	n, err := f.lower.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return n, err
}

// touch opens the directory of a name that is about to change and keeps its
// time.
func (f *fixer) touch(path string) (fd int, base string, err error) {
	dir, base := split(path)
	if err = f.trim(); err == nil {
		fd, err = f.open(dir)
	}
	return fd, base, err
}

func (f *fixer) links(p *Pending) error {
	copied := spool.NewMap(f.o.Temp)
	defer copied.Close()
	return p.links.Each(func(path, target string) error {
		return pathError("unpack", path, f.link(path, target, copied))
	})
}

// link copies a lower file up, or links to the copy of one that has been.
func (f *fixer) link(path, to string, copied *spool.Map) error {
	target, err := f.lower.Resolve(to, false)
	if err != nil {
		return err
	}
	fd, base, err := f.touch(path)
	if err != nil {
		return err
	}
	first, done, err := copied.Get(target)
	if err != nil {
		return err
	}
	if done {
		dir, name := split(first)
		from, err := f.open(dir)
		if err != nil {
			return err
		}
		return unix.Linkat(from, name, fd, base, 0)
	}
	n, err := f.at(target)
	if err != nil {
		return err
	}
	if n == nil || n.Type == TypeDir {
		return fmt.Errorf("malformed layer: hard link to %q, which is no file", to)
	}
	return errors.Join(copied.Set(target, path), f.put(path, &n.Entry))
}

func (f *fixer) whiteouts(p *Pending) error {
	return p.whiteouts.Each(func(path string) error {
		return pathError("unpack", path, errors.Join(f.trim(), f.dropWhiteout(path)))
	})
}

// dropWhiteout removes a whiteout that has nothing to hide.
func (f *fixer) dropWhiteout(path string) error {
	hidden, err := f.hiddenHere(path)
	if err != nil {
		return err
	}
	if !hidden {
		if n, err := f.at(path); err != nil || n != nil {
			return err
		}
	}
	fd, base, err := f.touch(path)
	if err != nil {
		return unlessGone(err)
	}
	var st unix.Stat_t
	if err := lstatAt(fd, base, &st); err != nil || !hidesLower(&st) {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	return unix.Unlinkat(fd, base, 0)
}

// hiddenHere tells whether a directory above path is opaque in this layer.
func (f *fixer) hiddenHere(path string) (bool, error) {
	for path != "" {
		path, _ = split(path)
		fd, err := f.open(path)
		if err != nil {
			if unlessGone(err) == nil {
				continue
			}
			return false, err
		}
		x, err := xattrsOfFD(fd)
		if err != nil || x.opaque {
			return x.opaque, err
		}
		if marked, err := exists(fd, whOpaque); err != nil || marked {
			return marked, err
		}
	}
	return false, nil
}

// root hides each name of the layers below by itself.
func (f *fixer) root(p *Pending) error {
	if !p.opaqueRoot {
		return nil
	}
	nodes, err := f.lower.ReadDir("")
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if _, _, err := f.touch(n.Path); err != nil {
			return err
		}
		err := f.whiteout(n.Path)
		if err == unix.EEXIST {
			if err = f.setOpaque(n.Path); err == unix.ENOTDIR || err == unix.ELOOP {
				err = nil
			}
		}
		if err != nil {
			return pathError("unpack", n.Path, err)
		}
	}
	return nil
}

// dirs makes directories hide what is none.
func (f *fixer) dirs(p *Pending) error {
	return p.dirs.Each(func(path string) error {
		n, err := f.at(path)
		if err != nil || n == nil || n.Type == TypeDir {
			return err
		}
		return pathError("unpack", path, errors.Join(f.trim(), unlessGone(f.setOpaque(path))))
	})
}

func (f *fixer) implied(p *Pending) error {
	return p.implied.Each(func(path, _ string) error {
		return pathError("unpack", path, errors.Join(f.trim(), unlessGone(f.describe(path))))
	})
}

// describe gives a directory what is due to one that the tar lacks.
func (f *fixer) describe(path string) error {
	if _, err := f.open(path); err != nil {
		return err
	}
	n, err := f.at(path)
	switch {
	case err != nil:
		return err
	case n == nil:
		return f.setLate(path, impliedDir(path, f.o.Time))
	case n.Type == TypeDir:
		return f.setLate(path, &n.Entry)
	}
	if err := f.setOpaque(path); err != nil {
		return err
	}
	return f.setLate(path, impliedDir(path, f.o.Time))
}

// unlessGone is an error but for that of a directory which came in the tar, and then
// something else in its place.
func unlessGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}
