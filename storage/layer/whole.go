package layer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
)

// Whole gives everything that stands in a tree, but for its root. Of several
// names of a file the first holds it, and the others are links to that. The tree
// may be in use: what vanishes meanwhile is left out, and of a file that grows or
// shrinks as many bytes are taken as it had, zeros for those that are gone.
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
				return fn(&Entry{
					Path: e.Path, Type: TypeLink, Linkname: known,
					Mode: e.Mode, UID: e.UID, GID: e.GID, ModTime: e.ModTime,
				})
			}
			given, err := whileOpen(&e, fn)
			if given {
				first[id] = e.Path
			}
			return err
		}
		_, err := whileOpen(&e, fn)
		return err
	})
}

// below gives a path as it is from the directory on.
func (w whole) below(path string) string {
	if w.dir == "" {
		return path
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, w.dir), "/")
}

// whileOpen calls fn with an entry whose file is open already: no header is to be
// written of one that has gone. It tells whether it has called fn.
func whileOpen(e *Entry, fn func(*Entry) error) (given bool, err error) {
	if e.Open == nil {
		return true, fn(e)
	}
	f, err := e.Open()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	e.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(io.MultiReader(f, nothing{}), e.Size)), nil
	}
	return true, fn(e)
}

// nothing is zeros without an end.
type nothing struct{}

func (nothing) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
