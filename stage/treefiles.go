package stage

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/layer"
)

// treeFiles gives the files of a snapshot to COPY --from, without a mount.
type treeFiles struct {
	tree  *layer.Tree
	lists *treeLists // may be nil
}

// wildcards are what makes a pattern of a source.
const wildcards = `*?[\`

// Glob matches docker's wildcards component by component, and follows links
// inside the tree. Wildcards may match nothing, as BuildKit has it.
func (t treeFiles) Glob(pattern string) ([]Match, error) {
	clean := strings.Trim(path.Clean("/"+pattern), "/")
	matches := []Match{{}}
	if clean != "" {
		for _, part := range strings.Split(clean, "/") {
			var err error
			if matches, err = t.descend(matches, part); err != nil {
				return nil, fault.New("", "the pattern %q: %w", pattern, err)
			}
		}
	}
	var found []Match
	for _, m := range matches {
		target, err := t.tree.Resolve(m.Path, true)
		if err != nil {
			return nil, err
		}
		if _, err := t.tree.Lstat(target); err == nil {
			found = append(found, Match{Name: m.Name, Path: target})
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if len(found) == 0 && !strings.ContainsAny(pattern, wildcards) {
		return nil, fault.New("look at what is there: builder run --rm IMAGE ls", "no file matches %q in what --from names", pattern)
	}
	return found, nil
}

func (t treeFiles) descend(dirs []Match, part string) ([]Match, error) {
	var next []Match
	for _, d := range dirs {
		if !strings.ContainsAny(part, wildcards) {
			next = append(next, Match{Name: part, Path: path.Join(d.Path, part)})
			continue
		}
		target, err := t.tree.Resolve(d.Path, true)
		if err != nil {
			return nil, err
		}
		nodes, err := t.tree.ReadDir(target)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		for _, n := range nodes {
			name := path.Base(n.Path)
			ok, err := path.Match(part, name)
			if err != nil {
				return nil, err
			}
			if ok {
				next = append(next, Match{Name: name, Path: path.Join(target, name)})
			}
		}
	}
	return next, nil
}

// Lstat gives an entry.
func (t treeFiles) Lstat(name string) (*File, error) {
	n, err := t.tree.Lstat(name)
	if err != nil {
		return nil, err
	}
	return &File{Entry: n.Entry, ID: FileIDOf(&n.Stat)}, nil
}

// Walk gives an entry and all below it.
func (t treeFiles) Walk(ctx context.Context, name string, fn func(*File) error) error {
	if t.lists == nil {
		return t.walk(ctx, name, fn)
	}
	if l := t.lists.of(name); l != nil {
		return l.each(ctx, t.tree, fn)
	}
	l := &treeList{files: spool.New(t.lists.dir)}
	err := t.walk(ctx, name, func(f *File) error {
		if err := l.add(f); err != nil {
			return err
		}
		return fn(f)
	})
	if err == nil {
		t.lists.keep(name, l)
	}
	return err
}

func (t treeFiles) walk(ctx context.Context, name string, fn func(*File) error) error {
	return t.tree.Walk(name, func(n *layer.Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := &File{Entry: n.Entry, ID: FileIDOf(&n.Stat)}
		openedFrom(t.tree, f)
		return fn(f)
	})
}

// Digests reads the files, several at once.
func (t treeFiles) Digests(ctx context.Context, files []*File) ([]digest.Digest, error) {
	return digestAll(ctx, files)
}

// digestAll reads and digests the regular files among these on all cores.
func digestAll(ctx context.Context, files []*File) ([]digest.Digest, error) {
	digests := make([]digest.Digest, len(files))
	g, ctx := newGroup(ctx)
	for i, f := range files {
		if f.Type != tar.TypeReg {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := digestBuffers.Get().(*[]byte)
			defer digestBuffers.Put(b)
			var err error
			digests[i], err = digestEntry(&f.Entry, *b)
			return err
		})
	}
	return digests, g.Wait()
}

var digestBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func digestEntry(e *layer.Entry, buf []byte) (digest.Digest, error) {
	f, err := e.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	d := digest.SHA256.Digester()
	if _, err := io.CopyBuffer(d.Hash(), struct{ io.Reader }{f}, buf); err != nil {
		return "", err
	}
	return d.Digest(), nil
}
