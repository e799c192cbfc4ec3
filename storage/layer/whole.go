package layer

import (
	"context"
	"io"
	"strings"
)

// Whole gives everything that stands in a tree, but for its root. Of several
// names of a file the first holds it, and the others are links to that. The tree
// may be in use: of a file that grows meanwhile its length at the time of its
// header is taken.
func Whole(t *Tree) Source { return whole{tree: t} }

// Below gives a directory of a tree, whose path [Tree.Resolve] has given, as the
// root, and everything below it as Whole does. Links are given as they are: none
// is followed.
func Below(t *Tree, dir string) Source { return whole{t, clean(dir), true} }

type whole struct {
	tree *Tree
	dir  string
	root bool // the directory itself is among what it gives
}

type inode struct{ dev, ino uint64 }

func (w whole) Walk(ctx context.Context, fn func(*Entry) error) error {
	first := map[inode]string{}
	return w.tree.Walk(w.dir, func(n *Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.Path == w.dir && !w.root {
			return nil
		}
		e := n.Entry
		e.Path = w.below(e.Path)
		if n.Type != TypeDir && n.Stat.Nlink > 1 {
			id := inode{n.Stat.Dev, n.Stat.Ino}
			if known, ok := first[id]; ok {
				e = Entry{
					Path: e.Path, Type: TypeLink, Linkname: known,
					Mode: e.Mode, UID: e.UID, GID: e.GID, ModTime: e.ModTime,
				}
			} else {
				first[id] = e.Path
			}
		}
		if open := e.Open; open != nil {
			e.Open = func() (io.ReadCloser, error) { return openUpTo(open, e.Size) }
		}
		return fn(&e)
	})
}

// below gives a path as it is from the directory on.
func (w whole) below(path string) string {
	if w.dir == "" {
		return path
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, w.dir), "/")
}

// openUpTo opens a file of which no more than size bytes are read.
func openUpTo(open func() (io.ReadCloser, error), size int64) (io.ReadCloser, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, size), f}, nil
}
