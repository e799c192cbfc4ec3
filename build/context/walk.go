package context

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// statChunk is how many entries of one directory are looked at in one go, so
// that a directory of many files keeps several cores busy.
const statChunk = 1024

// Walk calls fn for the entry at path and, where that is a directory, for all
// that is in it: parents first, each directory's entries in bytewise order of
// their names. What the ignore file leaves out is left out; an ignored
// directory that holds an exception comes with what leads to that. Sockets are
// empty files, as in BuildKit; FIFOs are entries; devices are a *fault.Error
// that names them. The entries may be kept. fn is called from one goroutine,
// after everything was listed.
func (d *Dir) Walk(ctx context.Context, path string, fn func(*Entry) error) error {
	top, err := d.scan(ctx, cleanPath(path))
	if err != nil {
		return err
	}
	return top.each(fn)
}

// node is an entry with what is in it.
type node struct {
	Entry
	excluded bool
	dir      *listing // nil for all but directories
}

// listing is what a directory's node has beyond others'.
type listing struct {
	verdict
	children []node
}

// judged notes what the rules say of a node.
func (n *node) judged(v verdict) {
	n.excluded = v.excluded
	if n.IsDir() {
		n.dir = &listing{verdict: v}
	}
}

func (n *node) children() []node {
	if n.dir == nil {
		return nil
	}
	return n.dir.children
}

// each hands out the nodes that the rules keep, and the excluded directories
// above them.
func (n *node) each(fn func(*Entry) error) error {
	if n.excluded && !n.kept() {
		return nil
	}
	if err := fn(&n.Entry); err != nil {
		return err
	}
	for i := range n.children() {
		if err := n.children()[i].each(fn); err != nil {
			return err
		}
	}
	return nil
}

// kept says whether the rules keep the node or anything in it.
func (n *node) kept() bool {
	return !n.excluded || slices.ContainsFunc(n.children(), func(c node) bool { return c.kept() })
}

// scanner lists directories in parallel. Every directory is opened by its path
// from the root: one system call each, against one for each of its files.
type scanner struct {
	dir   *Dir
	group *errgroup.Group
	ctx   context.Context // lives as long as one scan
	idle  sync.Pool       // of *worker
}

// worker is what one goroutine needs for listing.
type worker struct {
	buf    []byte
	filter *filter
}

// scan lists the entry at a path and all below it.
func (d *Dir) scan(ctx context.Context, rel string) (*node, error) {
	e, err := d.Lstat(rel)
	if err != nil {
		return nil, err
	}
	f, err := d.ignore.filter()
	if err != nil {
		return nil, err
	}
	top := &node{Entry: *e}
	v, err := f.judge(rel)
	if err != nil {
		return nil, err
	}
	top.judged(v)
	s := &scanner{dir: d}
	s.group, s.ctx = errgroup.WithContext(ctx)
	s.group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	s.idle.Put(&worker{buf: make([]byte, direntBuffer), filter: f})
	keep, err := f.wants(&top.Entry, v)
	if keep && top.IsDir() {
		err = s.list(top)
	}
	return top, errors.Join(err, s.group.Wait())
}

// list fills a directory's node and those below it. It hands directories to
// other goroutines where one is free, and does the others itself.
func (s *scanner) list(n *node) error {
	if err := s.read(n); err != nil {
		return err
	}
	for i := range n.dir.children {
		child := &n.dir.children[i]
		if !child.IsDir() || s.group.TryGo(func() error { return s.list(child) }) {
			continue
		}
		if err := s.list(child); err != nil {
			return err
		}
	}
	return nil
}

// read fills in the entries of one directory that the rules want.
func (s *scanner) read(n *node) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	fd, err := s.dir.openPath(n.Path, unix.O_RDONLY|unix.O_DIRECTORY)
	if isMissing(err) {
		return nil // gone since its parent was listed
	}
	if err != nil {
		return s.dir.unreadable(n.Path, err)
	}
	defer closeFD(fd)
	w, err := s.take()
	if err != nil {
		return err
	}
	paths, err := readNames(fd, n.Path, w.buf)
	s.idle.Put(w)
	if err != nil {
		return s.dir.unreadable(n.Path, err)
	}
	n.dir.children = make([]node, len(paths))
	if err := s.statAll(fd, n, paths); err != nil {
		return err
	}
	n.dir.children = slices.DeleteFunc(n.dir.children, func(c node) bool { return c.Stat.Mode == 0 })
	return nil
}

// statAll looks at the entries of one directory in chunks, several at once.
func (s *scanner) statAll(fd int, n *node, paths []string) error {
	var others sync.WaitGroup
	var failed error
	var once sync.Once
	for from := 0; from < len(paths); from += statChunk {
		to := min(from+statChunk, len(paths))
		chunk := func() error {
			err := s.stat(fd, n, n.dir.children[from:to], paths[from:to])
			if err != nil {
				once.Do(func() { failed = err })
			}
			return err
		}
		others.Add(1)
		if to < len(paths) && s.group.TryGo(func() error { defer others.Done(); return chunk() }) {
			continue
		}
		_ = chunk() // its error is in failed
		others.Done()
	}
	others.Wait()
	return failed
}

// stat fills in the nodes of some entries of a directory. Those that aren't
// wanted are left zero.
func (s *scanner) stat(fd int, parent *node, nodes []node, paths []string) error {
	w, err := s.take()
	if err != nil {
		return err
	}
	defer s.idle.Put(w)
	skip := len(parent.Path)
	if skip > 0 {
		skip++
	}
	for i, p := range paths {
		n := node{Entry: Entry{Path: p}}
		v, err := w.filter.match(p, parent.dir.verdict)
		if err != nil {
			return fault.New("", "%s: %w", s.dir.IgnoreFile(), err)
		}
		if v.excluded && !w.filter.matcher.Exclusions() {
			continue
		}
		if err := lstatat(fd, p[skip:], &n.Entry); err != nil {
			if isMissing(err) {
				continue // gone since the directory was read
			}
			return s.dir.unreadable(p, err)
		}
		keep, err := w.filter.wants(&n.Entry, v)
		if err != nil {
			return err
		}
		if keep {
			n.judged(v)
			nodes[i] = n
		}
	}
	return nil
}

// take gives a worker that no other goroutine uses.
func (s *scanner) take() (*worker, error) {
	if w, ok := s.idle.Get().(*worker); ok {
		return w, nil
	}
	f, err := s.dir.ignore.filter()
	return &worker{buf: make([]byte, direntBuffer), filter: f}, err
}

// wants says whether an entry is part of the context or may lead to something
// that is.
func (f *filter) wants(e *Entry, v verdict) (bool, error) {
	if v.excluded {
		return e.IsDir() && f.mayHoldException(e.Path), nil
	}
	if kind := e.Stat.Mode & unix.S_IFMT; kind == unix.S_IFBLK || kind == unix.S_IFCHR {
		return false, fault.New("leave it out by a line in .dockerignore", "the build context holds the device file %s", e.Path)
	}
	return true, nil
}

// lstatat fills in an entry of an open directory.
func lstatat(fd int, name string, e *Entry) error {
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	e.Stat = statOf(&st)
	if err == nil && e.IsLink() {
		e.Linkname, err = readlinkat(fd, name, e.Stat.Size)
	}
	return err
}

// direntBuffer holds what one getdents gives: some 2,000 names.
const direntBuffer = 64 << 10

// readNames gives the paths of an open directory's entries, sorted.
func readNames(fd int, dir string, buf []byte) ([]string, error) {
	var paths []string
	prefix := dir
	if prefix != "" {
		prefix += "/"
	}
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			slices.Sort(paths)
			return paths, nil
		}
		for rest := buf[:n]; len(rest) > direntName; {
			length := int(binary.NativeEndian.Uint16(rest[direntLength:]))
			name := rest[direntName:length]
			name = name[:bytes.IndexByte(name, 0)]
			if string(name) != "." && string(name) != ".." {
				paths = append(paths, prefix+string(name))
			}
			rest = rest[length:]
		}
	}
}

// Where length and name stand in the kernel's struct linux_dirent64.
const (
	direntLength = 16
	direntName   = 19
)
