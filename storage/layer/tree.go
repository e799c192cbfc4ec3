package layer

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/dirnames"
)

// Tree is the merged, read-only view of stacked directories, as a mount of
// them would show it, without mounting. It never follows a link: a lookup that
// meets one on its way ends there, so nothing in a layer leads out of it. It
// may be used by several goroutines. What it has read of a directory it keeps
// for a while, so the directories must not change meanwhile.
type Tree struct {
	dirs   []string
	owners []*Owners // one for each of dirs in single-id mode, else nil
	// recorded says that owners have all of what files can't have themselves.
	recorded bool

	mu     sync.Mutex
	views  map[string]*list.Element // of *cachedView
	recent *list.List
	fds    *fdCount
}

// Node is an entry of a tree, with what its file says of itself.
type Node struct {
	Entry
	// Stat is of the file as it lies in its layer. In single-id mode its
	// owner is not the entry's.
	Stat unix.Stat_t
	// Layer is the place in the stack of the directory that shows the name;
	// the top is zero.
	Layer int
}

// maxTreeFDs bounds the descriptors that a tree's cache holds.
const maxTreeFDs = 192

// NewTree stacks dirs, the top one first. Without any it is the tree of an
// empty image: a root directory, 0755 root:root.
func NewTree(dirs []string) *Tree {
	t := &Tree{dirs: dirs, views: map[string]*list.Element{}, recent: list.New(), fds: &fdCount{open: map[int]bool{}}}
	runtime.AddCleanup(t, func(c *fdCount) { c.closeAll() }, t.fds)
	return t
}

// NewSingleIDTree is [NewTree] for directories written in single-id mode:
// owners are those that the side records, one for each directory, and
// attributes of files tell.
func NewSingleIDTree(dirs []string, owners []*Owners) *Tree {
	t := NewTree(dirs)
	t.owners = owners
	if t.owners == nil {
		t.owners = []*Owners{}
	}
	return t
}

// NewRecordedTree is [NewSingleIDTree] for directories that an ordinary user wrote
// without a namespace; see [DirOptions.Unprivileged].
func NewRecordedTree(dirs []string, owners []*Owners) *Tree {
	t := NewSingleIDTree(dirs, owners)
	t.recorded = true
	return t
}

// under is the tree with one more directory on top.
func (t *Tree) under(dir string, owners *Owners) *Tree {
	dirs := append([]string{dir}, t.dirs...)
	if t.recorded {
		return NewRecordedTree(dirs, append([]*Owners{owners}, t.owners...))
	}
	if t.owners == nil {
		return NewTree(dirs)
	}
	return NewSingleIDTree(dirs, append([]*Owners{owners}, t.owners...))
}

// Dirs gives the stacked directories, the top one first.
func (t *Tree) Dirs() []string { return t.dirs }

// Close frees the descriptors that the tree has cached. The tree stays usable,
// also by others at the same moment.
func (t *Tree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.recent.Len() > 0 {
		t.evict(t.recent.Back())
	}
	return nil
}

// Lstat gives the entry at path, or an error that is fs.ErrNotExist where the
// tree has none, also where a parent is a link or not a directory.
func (t *Tree) Lstat(path string) (*Node, error) {
	path = clean(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lstat(path)
}

func (t *Tree) lstat(path string) (*Node, error) {
	if path == "" {
		return t.root()
	}
	dir, base := split(path)
	m, err := t.view(dir)
	if err != nil {
		return nil, pathError("lstat", path, err)
	}
	n, err := t.node(m, base, path)
	return n, pathError("lstat", path, err)
}

// ReadDir gives the entries of a directory sorted by name. Sockets, which
// layers can't hold, aren't among them, and neither is what has gone since the
// directory was read, of a tree that is in use.
func (t *Tree) ReadDir(path string) ([]*Node, error) {
	path = clean(path)
	names, err := t.names(path)
	if err != nil {
		return nil, err
	}
	var nodes []*Node
	for part := names.Next(nodesAtOnce); len(part) > 0; part = names.Next(nodesAtOnce) {
		some, err := t.nodes(path, part)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, some...)
	}
	return nodes, nil
}

// Open opens a regular file for reading.
func (t *Tree) Open(path string) (*os.File, error) {
	path = clean(path)
	fd, err := t.openFD(path)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return os.NewFile(uintptr(fd), "/"+path), nil
}

func (t *Tree) openFD(path string) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, base := split(path)
	m, err := t.view(dir)
	if err != nil {
		return -1, err
	}
	return m.openFile(base)
}

// ErrLarger is behind the error of ReadFile about a file that is larger than it may be.
var ErrLarger = errors.New("larger than")

// ReadFile reads a regular file of at most limit bytes.
func (t *Tree) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := t.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read /%s: %w %d bytes", clean(path), ErrLarger, limit)
	}
	return data, nil
}

// Walk calls fn for path and, where it is a directory, for everything beneath
// it, in the order of [Source].
func (t *Tree) Walk(path string, fn func(*Node) error) error {
	n, err := t.Lstat(path)
	if err != nil {
		return err
	}
	return t.walk(n, fn)
}

func (t *Tree) walk(n *Node, fn func(*Node) error) error {
	if err := fn(n); err != nil {
		return err
	}
	if n.Type != TypeDir {
		return nil
	}
	names, err := t.names(n.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has gone
	}
	if err != nil {
		return err
	}
	dir := n.Path
	for part := names.Next(nodesAtOnce); len(part) > 0; part = names.Next(nodesAtOnce) {
		nodes, err := t.nodes(dir, part)
		if err != nil {
			return err
		}
		for _, c := range nodes {
			if err := t.walk(c, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// nodesAtOnce is how many of a directory's nodes a walk holds.
const nodesAtOnce = 256

// Names gives those in a directory, sorted: of all that ReadDir gives, and maybe of
// sockets and of what has gone since.
func (t *Tree) Names(dir string) (*dirnames.Union, error) { return t.names(clean(dir)) }

// names gives those in a directory, sorted.
func (t *Tree) names(dir string) (*dirnames.Union, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, err := t.view(dir)
	if err != nil {
		return nil, pathError("readdir", dir, err)
	}
	return m.names(), nil
}

// nodes gives some of a directory's entries, without those that have gone.
func (t *Tree) nodes(dir string, names []dirnames.Name) ([]*Node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, err := t.view(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathError("readdir", dir, err)
	}
	nodes := make([]*Node, 0, len(names))
	for _, name := range names {
		path := join(dir, name.Text)
		p, ok := m.shows(name)
		if !ok {
			continue
		}
		n, err := t.nodeIn(p, name.Text, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, pathError("lstat", path, err)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// maxLinks is how many symbolic links a lookup follows, as in the kernel.
const maxLinks = 40

// Resolve follows the symbolic links in path inside the tree: an absolute one
// starts at its root and .. ends there. With followLast the last name is
// followed too. What doesn't exist is kept as it is written. The error is
// ELOOP for too many links and ENOTDIR where a file stands in the way.
func (t *Tree) Resolve(path string, followLast bool) (string, error) {
	if len(path) >= unix.PathMax {
		return "", pathError("resolve", path[:32]+"…", unix.ENAMETOOLONG)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, links := "", 0
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at, _ = split(at)
			continue
		}
		next := join(at, name)
		n, err := t.lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			at = next
		case err != nil:
			return "", err
		case n.Type == TypeSymlink && (followLast || len(rest) > 0):
			if links++; links > maxLinks {
				return "", pathError("resolve", clean(path), unix.ELOOP)
			}
			if strings.HasPrefix(n.Linkname, "/") {
				at = ""
			}
			rest = append(strings.Split(n.Linkname, "/"), rest...)
		case n.Type != TypeDir && len(rest) > 0:
			return "", pathError("resolve", next, unix.ENOTDIR)
		default:
			at = next
		}
	}
	return at, nil
}

func (t *Tree) root() (*Node, error) {
	if len(t.dirs) == 0 {
		return &Node{Entry: Entry{Type: TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}}, nil
	}
	m, err := t.view("")
	if err != nil {
		return nil, pathError("lstat", "", err)
	}
	n := &Node{}
	if err := unix.Fstat(m.parts[0].fd, &n.Stat); err != nil {
		return nil, pathError("lstat", "", err)
	}
	n.Entry = entryOf("", &n.Stat)
	if t.recorded {
		return n, t.recordOf(n)
	}
	x, err := xattrsOfFD(m.parts[0].fd)
	if err != nil {
		return nil, pathError("lstat", "", err)
	}
	return n, t.adopt(n, x)
}

// node reads name's entry from the part of m that shows it.
func (t *Tree) node(m *view, name, path string) (*Node, error) {
	p, ok := m.find(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	return t.nodeIn(p, name, path)
}

func (t *Tree) nodeIn(part part, name, path string) (*Node, error) {
	n := &Node{Layer: part.layer}
	if err := lstatAt(part.fd, name, &n.Stat); err != nil {
		return nil, err
	}
	n.Entry = entryOf(path, &n.Stat)
	if n.Type == TypeSymlink {
		var err error
		if n.Linkname, err = readlinkAt(part.fd, name); err != nil {
			return nil, err
		}
	}
	if err := t.attributes(n, part.fd, name); err != nil {
		return nil, err
	}
	if n.Type == TypeReg {
		n.Open = func() (io.ReadCloser, error) {
			fd, err := t.openFD(path)
			if err != nil {
				return nil, pathError("open", path, err)
			}
			return rawFile{fd}, nil
		}
	}
	return n, nil
}

// attributes gives n what neither stat nor a link's target tells.
func (t *Tree) attributes(n *Node, dirfd int, name string) error {
	if t.recorded {
		return t.recordOf(n)
	}
	x, err := xattrsAt(dirfd, name)
	if err != nil {
		return err
	}
	return t.adopt(n, x)
}

// recordOf gives n what the record tells of it.
func (t *Tree) recordOf(n *Node) error { return t.record(n).complete(&n.Entry) }

// record is that of the directory which shows n.
func (t *Tree) record(n *Node) *Owners {
	if n.Layer >= len(t.owners) {
		return nil
	}
	return t.owners[n.Layer]
}

// adopt gives n its attributes and, in single-id mode, its owner.
func (t *Tree) adopt(n *Node, x xattrs) error {
	n.Xattrs = x.kept
	if t.owners == nil {
		return nil
	}
	return t.record(n).adopt(&n.Entry, x)
}
