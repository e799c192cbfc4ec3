package stage

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/layer"
)

// treeLists has what was found below paths of a tree, which is gone through
// several times: looking at each file again would take longer than reading what
// was seen.
type treeLists struct {
	dir string // for long ones

	mu sync.Mutex
	// Those below paths, and those that patterns name.
	byPath    map[string]*treeList
	byPattern map[Pattern]*treeList
}

func newTreeLists(dir string) *treeLists {
	return &treeLists{dir: dir, byPath: map[string]*treeList{}, byPattern: map[Pattern]*treeList{}}
}

// treeList has the files below a path, or what a pattern names.
type treeList struct {
	files *spool.Spool
	count int
	// matches are a pattern's: name, path, and how many files each has.
	matches     *spool.Spool
	manyMatches int

	before string
	buf    []byte
}

func newTreeList(dir string) *treeList { return &treeList{files: spool.New(dir)} }

// listOf gives what is known by a path or pattern, or nil.
func listOf[K comparable](t *treeLists, lists map[K]*treeList, by K) *treeList {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lists[by]
}

func keepList[K comparable](t *treeLists, lists map[K]*treeList, by K, l *treeList) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lists[by] = l
}

func (l *treeList) add(f *File) error {
	b := spool.AppendPath(append(l.buf[:0], f.Type), l.before, f.Path)
	l.before = f.Path
	for _, n := range []uint64{
		uint64(f.Mode), uint64(f.UID), uint64(f.GID), uint64(f.Size), uint64(f.Devmajor), uint64(f.Devminor), f.ID.Dev, f.ID.Ino,
	} {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(binary.AppendVarint(b, f.ModTime.Unix()), uint64(f.ModTime.Nanosecond()))
	b = binary.AppendUvarint(spool.AppendText(b, f.Linkname), uint64(len(f.Xattrs)))
	for name, value := range f.Xattrs {
		b = spool.AppendText(spool.AppendText(b, name), value)
	}
	l.count++
	l.buf = b
	_, err := l.files.Write(b)
	return err
}

// each gives the files as the walk did.
func (l *treeList) each(ctx context.Context, tree *layer.Tree, fn func(*File) error) error {
	from := spool.NewFields(l.files.Reader())
	for range l.count {
		f := readFile(from)
		if err := from.Err(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		openedFrom(tree, f)
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// eachMatch gives what a pattern names.
func (l *treeList) eachMatch(ctx context.Context, tree *layer.Tree, fn func(Match, *File) error) error {
	from, matches := spool.NewFields(l.files.Reader()), spool.NewFields(l.matches.Reader())
	for range l.manyMatches {
		m := Match{Name: matches.Text(), Path: matches.Text()}
		for range matches.Uint() {
			at := from.At()
			f := readFile(from)
			if err := errors.Join(from.Err(), matches.Err(), ctx.Err()); err != nil {
				return err
			}
			f.Ref = at
			openedFrom(tree, f)
			if err := fn(m, f); err != nil {
				return err
			}
		}
	}
	return matches.Err()
}

// addMatch adds what a pattern names, after the files of it.
func (l *treeList) addMatch(m Match, files int) error {
	l.manyMatches++
	b := spool.AppendText(spool.AppendText(l.buf[:0], m.Name), m.Path)
	_, err := l.matches.Write(binary.AppendUvarint(b, uint64(files)))
	return err
}

// at gives the file that eachMatch gave with a number.
func (l *treeList) at(at int64, tree *layer.Tree) (*File, error) {
	const little = 512
	from := spool.NewFields(l.files.From(at, little))
	f := readFile(from)
	openedFrom(tree, f)
	return f, from.Err()
}

func readFile(from *spool.Fields) *File {
	f := &File{}
	f.Type = byte(from.Uint())
	f.Path = from.Path()
	f.Mode, f.UID, f.GID, f.Size = int64(from.Uint()), uint32(from.Uint()), uint32(from.Uint()), int64(from.Uint())
	f.Devmajor, f.Devminor = int64(from.Uint()), int64(from.Uint())
	f.ID = FileID{from.Uint(), from.Uint()}
	sec := from.Int()
	f.ModTime = time.Unix(sec, int64(from.Uint()))
	f.Linkname = from.Text()
	if n := from.Uint(); n > 0 {
		f.Xattrs = make(map[string]string)
		for ; n > 0 && from.Err() == nil; n-- {
			name := from.Text()
			f.Xattrs[name] = from.Text()
		}
	}
	return f
}

// openedFrom has a regular file be read from a tree.
func openedFrom(tree *layer.Tree, f *File) {
	if path := f.Path; f.Type == tar.TypeReg {
		f.Open = func() (io.ReadCloser, error) { return tree.Open(path) }
	}
}
