package layer

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Settle makes an upper directory good for packing and for layers above it,
// after fuse-overlayfs was unmounted from it; parent is the tree below. For
// other flavors there is nothing to do. Nothing may be running in the mount any
// more. parent is closed, and stays usable.
//
// It strips the marks by which fuse-overlayfs remembers the lower file that one
// was copied up from. By them version 1.10 takes names that were hard links
// below for the same file still: after one of two was written, a layer above
// shows the written one with the other's old content. Without the mark each
// name is what lies in the upper directory.
//
// And it mends what version 1.10 does with files that have several names
// below: all of them show a change at once, but the upper directory gets it
// under one of them, not always the one that was written to, and the rest would
// be as before in the next layer. Here the other names become links to the
// changed file. So a write through one name changes them all, as on a plain
// disk, and a chown -R leaves none out; the kernel's overlay parts the names
// instead.
//
// Directories keep the bits that 1.10 loses when it copies one up. (What was made in
// one whose set-group-ID bit it had lost has the group of who made it.)
func Settle(ctx context.Context, upper string, parent *Tree, o DirOptions) (err error) {
	if o.Flavor != Fuse {
		return nil
	}
	defer func() { err = errors.Join(err, parent.Close()) }()
	if err := keepDirBits(ctx, upper, parent); err != nil {
		return err
	}
	touched, err := touchesLower(ctx, upper, parent)
	if err != nil || !touched {
		return err
	}
	copied, err := stripOrigins(ctx, upper, func(c copiedUp) (bool, error) {
		n, err := linkedOrigin(c, parent)
		return n != nil, err
	})
	if err != nil || len(copied) == 0 {
		return err
	}
	slices.SortFunc(copied, func(a, b copiedUp) int { return strings.Compare(a.path, b.path) })
	merged := parent.under(upper, o.Owners)
	defer func() { err = errors.Join(err, merged.Close()) }()
	groups, err := linkedBelow(copied, parent, merged)
	if err != nil || len(groups) == 0 {
		return err
	}
	for number, dir := range parent.Dirs() {
		if err := scanNames(ctx, dir, number, groups); err != nil {
			return err
		}
	}
	w := NewDirWriter(upper, parent, o)
	for id, g := range groups {
		if err := g.relink(w, id, merged); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// linkedFile identifies a file of a lower layer.
type linkedFile struct {
	layer int
	ino   uint64
}

// linkGroup is a file of a lower layer with several names.
type linkGroup struct {
	changed string   // where its newest changed copy is in the upper directory
	ctime   ctime    // of that
	stale   []string // where copies are that haven't changed
	names   []string // where it is in its layer
}

// linkedBelow finds the files that have several names below and were changed
// under one. merged is the upper directory over parent.
func linkedBelow(copied []copiedUp, parent, merged *Tree) (map[linkedFile]*linkGroup, error) {
	groups := map[linkedFile]*linkGroup{}
	for _, c := range copied {
		old, err := linkedOrigin(c, parent)
		if err != nil {
			return nil, err
		}
		if old == nil {
			continue
		}
		id := linkedFile{old.Layer, old.Stat.Ino}
		if groups[id] == nil {
			groups[id] = &linkGroup{}
		}
		if err := groups[id].add(c.path, merged, old); err != nil {
			return nil, err
		}
	}
	maps.DeleteFunc(groups, func(_ linkedFile, g *linkGroup) bool { return g.changed == "" })
	return groups, nil
}

// linkedOrigin gives the file below that one was copied up from, nil where that has
// no other names.
func linkedOrigin(c copiedUp, parent *Tree) (*Node, error) {
	old, err := parent.Lstat(c.origin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || old.Type != TypeReg || old.Stat.Nlink < 2 {
		return nil, err
	}
	return old, nil
}

// add takes a copy of old into the group.
func (g *linkGroup) add(path string, merged *Tree, old *Node) error {
	n, err := merged.Lstat(path)
	if err != nil {
		return err
	}
	same, err := sameFile(n, old)
	switch c := ctimeOf(n.Stat.Ctim); {
	case err != nil:
		return err
	case same:
		g.stale = append(g.stale, path)
	case g.changed == "" || g.ctime.sec < c.sec || g.ctime.sec == c.sec && g.ctime.nsec < c.nsec:
		g.changed, g.ctime = path, c
	}
	return nil
}

func sameFile(n, old *Node) (bool, error) {
	if same, err := (TimeRule{}).sameEntry(&n.Entry, old); err != nil || !same {
		return false, err
	}
	now, err := n.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = now.Close() }()
	before, err := old.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = before.Close() }()
	return sameContent(now, before, make([]byte, compareBuffer))
}

// scanNames finds the names of a layer's groups. It reads the whole layer,
// which is seldom needed.
func scanNames(ctx context.Context, dir string, layer int, groups map[linkedFile]*linkGroup) error {
	wanted := false
	for id := range groups {
		wanted = wanted || id.layer == layer
	}
	if !wanted {
		return nil
	}
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer closeFD(fd)
	return scanDir(ctx, fd, "", layer, groups)
}

func scanDir(ctx context.Context, fd int, path string, layer int, groups map[linkedFile]*linkGroup) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return pathError("readdir", path, err)
	}
	for d := range names.all() {
		p := join(path, d.name)
		var st unix.Stat_t
		if err := lstatAt(fd, d.name, &st); err != nil {
			return pathError("lstat", p, err)
		}
		switch typeOf(st.Mode) {
		case TypeReg:
			if g := groups[linkedFile{layer, st.Ino}]; g != nil {
				g.names = append(g.names, p)
			}
		case TypeDir:
			sub, err := openDir(fd, d.name)
			if err != nil {
				return pathError("open", p, err)
			}
			err = scanDir(ctx, sub, p, layer, groups)
			closeFD(sub)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// relink makes the names that still show the lower file, or an unchanged copy
// of it, links to the changed one.
func (g *linkGroup) relink(w *DirWriter, id linkedFile, merged *Tree) error {
	names := slices.Clone(g.stale)
	for _, name := range g.names {
		n, err := merged.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		// The upper directory is one more layer on top.
		if n.Layer == id.layer+1 && n.Stat.Ino == id.ino {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if err := w.Write(&Entry{Path: name, Type: TypeLink, Linkname: g.changed}); err != nil {
			return err
		}
	}
	return nil
}
