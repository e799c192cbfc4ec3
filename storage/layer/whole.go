package layer

import (
	"context"
	"io"
)

// Whole gives everything that stands in a tree, but for its root. Of several
// names of a file the first holds it, and the others are links to that. The tree
// may be in use: of a file that grows meanwhile its length at the time of its
// header is taken.
func Whole(t *Tree) Source { return whole{t} }

type whole struct{ tree *Tree }

type inode struct{ dev, ino uint64 }

func (w whole) Walk(ctx context.Context, fn func(*Entry) error) error {
	first := map[inode]string{}
	return w.tree.Walk("", func(n *Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.Path == "" {
			return nil
		}
		e := n.Entry
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
