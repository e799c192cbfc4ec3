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
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/layer"
)

// treeFiles gives the files of a snapshot to COPY --from, without a mount.
type treeFiles struct {
	tree  *layer.Tree
	lists *treeLists
}

// wildcards are what makes a pattern of a source.
const wildcards = `*?[\`

// Glob matches docker's wildcards component by component, and follows links
// inside the tree. Wildcards may match nothing, as BuildKit has it.
func (t treeFiles) Glob(pattern string, fn func(Match) error) error {
	var parts []string
	if clean := strings.Trim(path.Clean("/"+pattern), "/"); clean != "" {
		parts = strings.Split(clean, "/")
	}
	none := true
	err := t.descend(Match{}, parts, func(m Match) error {
		target, err := t.tree.Resolve(m.Path, true)
		if err == nil {
			_, err = t.tree.Lstat(target)
		}
		if isAbsent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		none = false
		return fn(Match{Name: m.Name, Path: target})
	})
	if errors.Is(err, path.ErrBadPattern) {
		return fault.New("", "the pattern %q: %w", pattern, err)
	}
	if err == nil && none && !strings.ContainsAny(pattern, wildcards) {
		return fault.New("look at what is there: builder run --rm IMAGE ls", "no file matches %q in what --from names", pattern)
	}
	return err
}

// descend calls found for what the parts of a pattern match below a directory.
func (t treeFiles) descend(dir Match, parts []string, found func(Match) error) error {
	if len(parts) == 0 {
		return found(dir)
	}
	part, rest := parts[0], parts[1:]
	if !strings.ContainsAny(part, wildcards) {
		return t.descend(Match{Name: part, Path: path.Join(dir.Path, part)}, rest, found)
	}
	target, err := t.tree.Resolve(dir.Path, true)
	if err != nil {
		return unlessAbsent(err)
	}
	names, err := t.tree.Names(target)
	if err != nil {
		return unlessAbsent(err)
	}
	for name := range names.All() {
		ok, err := path.Match(part, name)
		if err == nil && ok {
			err = t.descend(Match{Name: name, Path: path.Join(target, name)}, rest, found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isAbsent tells of an error whether nothing is at a path.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

func unlessAbsent(err error) error {
	if isAbsent(err) {
		return nil
	}
	return err
}

// Lstat gives an entry.
func (t treeFiles) Lstat(name string) (*File, error) {
	n, err := t.tree.Lstat(name)
	if err != nil {
		return nil, err
	}
	return t.file(n), nil
}

func (t treeFiles) file(n *layer.Node) *File { return &File{Entry: n.Entry, ID: FileIDOf(&n.Stat)} }

// Walk gives an entry and all below it.
func (t treeFiles) Walk(ctx context.Context, name string, fn func(*File) error) error {
	if l := listOf(t.lists, t.lists.byPath, name); l != nil {
		return l.each(ctx, t.tree, fn)
	}
	l := newTreeList(t.lists.dir)
	err := t.walk(ctx, name, func(f *File) error {
		if err := l.add(f); err != nil {
			return err
		}
		return fn(f)
	})
	if err == nil {
		keepList(t.lists, t.lists.byPath, name, l)
	}
	return err
}

// WalkGlob gives what a pattern names, and all below that.
func (t treeFiles) WalkGlob(ctx context.Context, p Pattern, fn func(Match, *File) error) error {
	l, err := t.globbed(ctx, p)
	if err != nil {
		return err
	}
	return l.eachMatch(ctx, t.tree, fn)
}

// Again gives a file that WalkGlob gave.
func (t treeFiles) Again(ctx context.Context, p Pattern, ref int64) (*File, error) {
	l, err := t.globbed(ctx, p)
	if err != nil {
		return nil, err
	}
	return l.at(ref, t.tree)
}

// globbed lists what a pattern names.
func (t treeFiles) globbed(ctx context.Context, p Pattern) (*treeList, error) {
	if l := listOf(t.lists, t.lists.byPattern, p); l != nil {
		return l, nil
	}
	l := newTreeList(t.lists.dir)
	l.matches = spool.New(t.lists.dir)
	err := t.Glob(p.Glob, func(m Match) error {
		before := l.count
		err := t.walkBelow(ctx, m.Path, p.Below, func(f *File) error {
			l.before = "" // a file may be read alone
			return l.add(f)
		})
		if err != nil {
			return err
		}
		return l.addMatch(m, l.count-before)
	})
	if err != nil {
		_ = errors.Join(l.files.Close(), l.matches.Close()) // nobody has seen it
		return nil, err
	}
	keepList(t.lists, t.lists.byPattern, p, l)
	return l, nil
}

// walkBelow walks what is at a path below an entry, after that and the directories
// that lead there.
func (t treeFiles) walkBelow(ctx context.Context, name, below string, fn func(*File) error) error {
	if below == "" {
		return t.walk(ctx, name, fn)
	}
	top, err := t.Lstat(name)
	if err != nil {
		return err
	}
	if err := fn(top); err != nil || top.Type != tar.TypeDir {
		return err
	}
	leads, found, err := leadTo(t, name, below, false)
	if err != nil || !found {
		return err
	}
	for _, f := range leads {
		if err := fn(f); err != nil {
			return err
		}
	}
	return t.walk(ctx, path.Join(name, below), fn)
}

func (t treeFiles) walk(ctx context.Context, name string, fn func(*File) error) error {
	return t.tree.Walk(name, func(n *layer.Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := t.file(n)
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
