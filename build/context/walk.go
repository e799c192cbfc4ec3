package context

import (
	"context"
	"runtime"
	"sync"

	"github.com/builder-oci/builder/internal/dirnames"
	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

// statChunk is how many entries of one directory are looked at in one go, so
// that a directory of many files keeps several cores busy.
const statChunk = 512

// Walk calls fn for the entry at path and, where that is a directory, for all
// that is in it: parents first, each directory's entries in bytewise order of
// their names. What the ignore file leaves out is left out, as is builder's own;
// an ignored directory that holds an exception comes with what leads to that.
// Sockets are empty files, as in BuildKit; FIFOs are entries; devices are a
// *fault.Error that names them. The entries may be kept. fn is called from one
// goroutine, while others read ahead, but not far: memory is needed for the names
// of the directories that lead to an entry, however many others there are.
func (d *Dir) Walk(ctx context.Context, path string, fn func(*Entry) error) error {
	s := &scanner{dir: d, slots: make(chan struct{}, min(4*runtime.GOMAXPROCS(0), mostAhead))}
	defer s.running.Wait()
	var end context.CancelFunc
	s.ctx, end = context.WithCancel(ctx)
	defer end()
	top, err := s.top(cleanPath(path))
	if err != nil {
		return err
	}
	w := &walk{scanner: s, fn: fn}
	return w.visit(top)
}

// walk hands out what a scanner finds.
type walk struct {
	*scanner
	fn func(*Entry) error
	// held are the excluded directories that lead here, and that fn hasn't had.
	held []*Entry
}

// visit hands out a node and what is in it, and before the first that the rules
// keep the excluded directories above.
func (w *walk) visit(n *node) error {
	outside := len(w.held)
	if n.excluded {
		w.held = append(w.held, &n.Entry)
	} else if err := w.give(&n.Entry); err != nil {
		return err
	}
	if n.dir == nil {
		w.held = w.held[:min(outside, len(w.held))]
		return nil
	}
	err := w.list(n)
	w.held = w.held[:min(outside, len(w.held))]
	return err
}

func (w *walk) give(e *Entry) error {
	for _, above := range w.held {
		if err := w.fn(above); err != nil {
			return err
		}
	}
	w.held = w.held[:0]
	return w.fn(e)
}

// list visits what is in a directory.
func (w *walk) list(n *node) error {
	l, err := n.dir.begun.get(w.scanner)
	n.dir = nil
	if err != nil {
		return err
	}
	chunks := w.chunks(n, l)
	for i := range chunks {
		for k := i + 1; k < len(chunks) && chunks[k].begin(w.scanner); k++ {
			continue
		}
		nodes, err := chunks[i].get(w.scanner)
		chunks[i] = nil
		if err != nil {
			return err
		}
		ahead := 0
		for k := range nodes {
			ahead = w.beginDirs(nodes, max(ahead, k+1))
			if err := w.visit(&nodes[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// beginDirs has directories be read ahead, and gives the first place where one
// may be that isn't.
func (s *scanner) beginDirs(nodes []node, from int) int {
	for ; from < len(nodes); from++ {
		if dir := nodes[from].dir; dir != nil && !dir.begun.begin(s) {
			break
		}
	}
	return from
}

// node is an entry with what is still to be read of it.
type node struct {
	Entry
	excluded bool
	dir      *directory // nil for all but directories
}

// directory is what a directory's node has beyond others'.
type directory struct {
	verdict
	begun *task[listing]
}

// listing has the names in a directory, and the first of its nodes.
type listing struct {
	verdict
	names dirnames.List
	first []node
}

// mostAhead bounds how many directories, and parts of large ones, are read ahead.
const mostAhead = 32

// scanner lists directories, several at once. Every directory is opened by its
// path from the root: one system call each, against one for each of its files.
type scanner struct {
	dir     *Dir
	ctx     context.Context // lives as long as one walk
	idle    sync.Pool       // of *worker
	slots   chan struct{}   // one for each task that was begun ahead
	running sync.WaitGroup
}

// task is work that another goroutine may begin ahead.
type task[T any] struct {
	do     func() (T, error)
	done   chan struct{} // nil where nobody has begun
	result T
	err    error
}

// begin has the work done ahead, and says whether it is: not where much else
// already waits to be handed out.
func (t *task[T]) begin(s *scanner) bool {
	if t.done != nil {
		return true
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return false
	}
	t.done = make(chan struct{})
	s.running.Go(func() {
		defer close(t.done)
		t.result, t.err = t.do()
	})
	return true
}

// get gives the outcome of the work, doing it where nobody has.
func (t *task[T]) get(s *scanner) (T, error) {
	if t.done == nil {
		return t.do()
	}
	<-t.done
	<-s.slots
	return t.result, t.err
}

// worker is what one goroutine needs for listing.
type worker struct {
	buf    []byte
	filter *filter
}

// top gives the node of the path where a walk begins.
func (s *scanner) top(rel string) (*node, error) {
	e, err := s.dir.Lstat(rel)
	if err != nil {
		return nil, err
	}
	w, err := s.take()
	if err != nil {
		return nil, err
	}
	defer s.idle.Put(w)
	top := &node{Entry: *e}
	v, err := w.filter.judge(rel)
	if err != nil {
		return nil, err
	}
	keep, err := w.filter.wants(&top.Entry, v)
	if err != nil {
		return nil, err
	}
	top.excluded = v.excluded
	if keep {
		s.judged(top, v)
	}
	return top, nil
}

// judged notes what the rules say of a node that may have to be handed out.
func (s *scanner) judged(n *node, v verdict) {
	n.excluded = v.excluded
	if n.IsDir() {
		at := n.Path
		n.dir = &directory{v, &task[listing]{do: func() (listing, error) { return s.read(at, v) }}}
	}
}

// read gives the names in a directory, and its first nodes.
func (s *scanner) read(at string, v verdict) (listing, error) {
	l := listing{verdict: v}
	fd, err := s.open(at)
	if fd < 0 || err != nil {
		return l, err
	}
	defer closeFD(fd)
	w, err := s.take()
	if err != nil {
		return l, err
	}
	l.names, err = dirnames.Read(fd, w.buf)
	s.idle.Put(w)
	if err != nil {
		return l, s.dir.unreadable(at, err)
	}
	l.first, err = s.stat(fd, at, l, 0)
	return l, err
}

// open opens a directory; -1 is one that has gone since its parent was listed.
func (s *scanner) open(at string) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return -1, err
	}
	fd, err := s.dir.openPath(at, unix.O_RDONLY|unix.O_DIRECTORY)
	if isMissing(err) {
		return -1, nil
	}
	if err != nil {
		return -1, s.dir.unreadable(at, err)
	}
	return fd, nil
}

// chunks are the parts of a directory.
func (s *scanner) chunks(n *node, l listing) []*task[[]node] {
	chunks := []*task[[]node]{{do: func() ([]node, error) { return l.first, nil }}}
	at := n.Path
	for from := statChunk; from < l.names.Len(); from += statChunk {
		chunks = append(chunks, &task[[]node]{do: func() ([]node, error) {
			fd, err := s.open(at)
			if fd < 0 || err != nil {
				return nil, err
			}
			defer closeFD(fd)
			return s.stat(fd, at, l, from)
		}})
	}
	return chunks
}

// stat looks at the entries of one part of a directory, and gives those that the
// rules want.
func (s *scanner) stat(fd int, dir string, l listing, from int) ([]node, error) {
	w, err := s.take()
	if err != nil {
		return nil, err
	}
	defer s.idle.Put(w)
	to := min(from+statChunk, l.names.Len())
	nodes := make([]node, 0, to-from)
	for i := from; i < to; i++ {
		n := node{Entry: Entry{Path: l.names.Path(dir, i)}}
		v, err := w.filter.match(n.Path, l.verdict)
		if err != nil {
			return nil, fault.New("", "%s: %w", s.dir.IgnoreFile(), err)
		}
		if v.excluded && !w.filter.matcher.Exclusions() {
			continue
		}
		if err := lstatat(fd, Below(dir, n.Path), &n.Entry); err != nil {
			if isMissing(err) {
				continue // gone since the directory was read
			}
			return nil, s.dir.unreadable(n.Path, err)
		}
		keep, err := w.filter.wants(&n.Entry, v)
		if err != nil {
			return nil, err
		}
		if keep {
			s.judged(&n, v)
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// take gives a worker that no other goroutine uses.
func (s *scanner) take() (*worker, error) {
	if w, ok := s.idle.Get().(*worker); ok {
		return w, nil
	}
	f, err := s.dir.filter()
	return &worker{buf: make([]byte, dirnames.Buffer), filter: f}, err
}

// wants says whether an entry is part of the context or may lead to something
// that is.
func (f *filter) wants(e *Entry, v verdict) (bool, error) {
	if v.excluded {
		return e.IsDir() && f.mayHoldException(e.Path), nil
	}
	return true, e.usable()
}

// usable is an error for a device.
func (e *Entry) usable() error {
	if kind := e.Stat.Mode & unix.S_IFMT; kind == unix.S_IFBLK || kind == unix.S_IFCHR {
		return fault.New("leave it out by a line in .dockerignore", "the build context holds the device file %s", e.Path)
	}
	return nil
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
