package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// Pending is what an unpacked layer still lacks, because only the layers below
// can tell it.
type Pending struct {
	// Implied are the directories that the tar lacks.
	Implied []string
	// Dirs are those that it has.
	Dirs []string
	// Whiteouts are the names that it deletes.
	Whiteouts []string
	// Links are hard links to files of the layers below.
	Links []PendingLink
	// OpaqueRoot says that it hides all layers below. A mount doesn't heed
	// the mark on a root.
	OpaqueRoot bool
}

// PendingLink is a name for a file of the layers below.
type PendingLink struct{ Path, Target string }

func (u *unpacker) pending() *Pending {
	if u.o.Flavor == VFS {
		// The layers below were there all the time.
		return &Pending{}
	}
	p := &Pending{
		Implied: sortedKeys(u.implied), Dirs: sortedKeys(u.dirs), Whiteouts: sortedKeys(u.whiteouts),
		OpaqueRoot: u.opaqueRoot,
	}
	for path, target := range u.deferred {
		p.Links = append(p.Links, PendingLink{path, target})
	}
	slices.SortFunc(p.Links, func(a, b PendingLink) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return p
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// FixImplied completes a directory that [Unpack] wrote, when the layers below
// are complete: lower is their tree, without dir.
//
// Directories that the tar lacks get mode, owner, attributes and time from
// below, so that a layer with nothing but root/x doesn't open /root. Where
// something else than a directory lies below, a directory hides it, as it does
// under docker and podman. Hard links to lower files become copies, as when an
// overlay copies a file up. Whiteouts of what isn't there go away: the kernel
// would list them in directories that only one layer has.
func FixImplied(ctx context.Context, dir string, lower *Tree, p *Pending, o DirOptions) error {
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
	copied := map[string]string{}
	for _, l := range p.Links {
		if err := f.link(l, copied); err != nil {
			return pathError("unpack", l.Path, err)
		}
	}
	return nil
}

// link copies a lower file up, or links to the copy of one that has been.
func (f *fixer) link(l PendingLink, copied map[string]string) error {
	target, err := f.lower.Resolve(l.Target, false)
	if err != nil {
		return err
	}
	fd, base, err := f.touch(l.Path)
	if err != nil {
		return err
	}
	if first, ok := copied[target]; ok {
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
		return fmt.Errorf("malformed layer: hard link to %q, which is no file", l.Target)
	}
	copied[target] = l.Path
	return f.put(l.Path, &n.Entry)
}

func (f *fixer) whiteouts(p *Pending) error {
	for _, path := range p.Whiteouts {
		if err := f.dropWhiteout(path); err != nil {
			return pathError("unpack", path, err)
		}
	}
	return nil
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
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return nil
		}
		return err
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
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
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
	if !p.OpaqueRoot {
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
	for _, path := range p.Dirs {
		n, err := f.at(path)
		if err != nil {
			return err
		}
		if n == nil || n.Type == TypeDir {
			continue
		}
		if err := f.hideAll(path); err != nil {
			return pathError("unpack", path, err)
		}
	}
	return nil
}

// hideAll makes a directory hide what lies below it.
func (f *fixer) hideAll(path string) error { return errors.Join(f.trim(), f.setOpaque(path)) }

func (f *fixer) implied(p *Pending) error {
	for _, path := range p.Implied {
		n, err := f.at(path)
		if err != nil {
			return err
		}
		switch {
		case n == nil:
			f.setLate(path, impliedDir(path, f.o.Time))
		case n.Type == TypeDir:
			f.setLate(path, &n.Entry)
		default:
			if err := f.hideAll(path); err != nil {
				return pathError("unpack", path, err)
			}
			f.setLate(path, impliedDir(path, f.o.Time))
		}
	}
	return nil
}
