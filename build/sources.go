package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
)

// contextSource is the build context as a source of COPY. It is opened when an
// instruction asks for it.
type contextSource struct {
	open func() (*contextFiles, error)

	mu    sync.Mutex
	files *contextFiles
}

func newContextSource(open func() (*contextFiles, error)) *contextSource {
	s := &contextSource{}
	s.open = sync.OnceValues(func() (*contextFiles, error) {
		f, err := open()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.files = f
		return f, err
	})
	return s
}

// Known is nothing before the files are read.
func (s *contextSource) Known(context.Context) (*stage.State, error) { return nil, nil }

// Files opens the context.
func (s *contextSource) Files(context.Context) (stage.Files, error) {
	f, err := s.open()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// close keeps the digests for the next build.
func (s *contextSource) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		return
	}
	if s.files.digests != nil {
		_ = s.files.digests.Save() // what isn't remembered is read again
	}
	_ = s.files.dir.Close()
}

// contextFiles shows a context's entries as a layer would hold them: owned by
// root, without extended attributes.
type contextFiles struct {
	dir     *buildcontext.Dir
	digests *cache.Files // nil where nothing is remembered
	place   contextPlace
	// gitModes says that of a mode only the owner's executable bit counts.
	gitModes bool
	ahead    digesting

	mu sync.Mutex
	// known has, by their paths, the entries that were given out.
	known map[string]*buildcontext.Entry
	// walked has what each path held. A build that first looks its steps up
	// and then executes them lists a path only once.
	walked map[string][]*buildcontext.Entry
}

// openContext opens a directory. The cache remembers its files' digests; nil
// remembers nothing.
func openContext(p contextPlace, c *cache.Cache) (*contextFiles, error) {
	root, err := filepath.Abs(p.dir)
	if err != nil {
		return nil, err
	}
	o := buildcontext.Options{Dockerfile: p.dockerfile, IgnoreFile: p.ignoreFile, Fetched: p.fetched}
	var digests *cache.Files
	if c != nil {
		if digests, err = c.OpenFiles(root); err != nil {
			return nil, err
		}
		o.Digests = digests
	}
	d, err := buildcontext.OpenDir(p.dir, o)
	if err != nil {
		return nil, err
	}
	f := filesOf(d, digests)
	f.place = p
	return f, nil
}

// Origin is nil where the directory ends with the build.
func (f *contextFiles) Origin() *stage.Origin {
	if f.place.fetched || f.place.dir == "" {
		return nil
	}
	o := &stage.Origin{Dir: f.dir.Root(), GitModes: f.gitModes}
	if f.place.dockerfile != "" {
		o.Dockerfile = absolutePath(f.place.dockerfile)
	}
	if f.place.ignoreFile != "" {
		o.IgnoreFile = absolutePath(f.place.ignoreFile)
	}
	return o
}

// filesOf gives the files of an open directory; digests is nil where none are
// remembered.
func filesOf(d *buildcontext.Dir, digests *cache.Files) *contextFiles {
	return &contextFiles{
		dir: d, digests: digests,
		ahead:  digesting{done: map[string]func(){}},
		known:  map[string]*buildcontext.Entry{},
		walked: map[string][]*buildcontext.Entry{},
	}
}

// Glob gives what a pattern names in the context.
func (f *contextFiles) Glob(pattern string) ([]stage.Match, error) {
	found, err := f.dir.Glob(pattern)
	if err != nil {
		return nil, err
	}
	matches := make([]stage.Match, len(found))
	for i, m := range found {
		matches[i] = stage.Match{Name: m.Name, Path: m.Path}
	}
	return matches, nil
}

// Lstat gives the entry at a path.
func (f *contextFiles) Lstat(path string) (*layer.Entry, error) {
	e, err := f.dir.Lstat(path)
	if err != nil {
		return nil, err
	}
	return f.noted(e), nil
}

// noted gives an entry as a layer would hold it, and remembers where it is from.
func (f *contextFiles) noted(e *buildcontext.Entry) *layer.Entry {
	le := f.entry(e)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[e.Path] = e
	return le
}

// Walk gives the entry at a path and all below it.
func (f *contextFiles) Walk(ctx context.Context, path string, fn func(*layer.Entry, stage.FileID) error) error {
	f.ahead.end(path)
	return f.walk(ctx, path, fn)
}

func (f *contextFiles) walk(ctx context.Context, path string, fn func(*layer.Entry, stage.FileID) error) error {
	entries, err := f.list(ctx, path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fn(f.noted(e), stage.FileIDOf(e.Stat.Full())); err != nil {
			return err
		}
	}
	return nil
}

func (f *contextFiles) list(ctx context.Context, path string) ([]*buildcontext.Entry, error) {
	f.mu.Lock()
	entries, ok := f.walked[path]
	f.mu.Unlock()
	if ok {
		return entries, nil
	}
	err := f.dir.Walk(ctx, path, func(e *buildcontext.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walked[path] = entries
	return entries, nil
}

func (f *contextFiles) entry(e *buildcontext.Entry) *layer.Entry {
	le := &layer.Entry{
		Path: e.Path, Mode: int64(e.Stat.Mode & 0o7777), Linkname: e.Linkname,
		ModTime: time.Unix(e.Stat.Mtim.Unix()),
	}
	if f.gitModes {
		le.Mode = gitMode(e.Stat.Mode)
	}
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		le.Type = tar.TypeDir
	case unix.S_IFLNK:
		le.Type, le.Mode = tar.TypeSymlink, 0o777
	case unix.S_IFIFO:
		le.Type = tar.TypeFifo
	default:
		le.Type, le.Size = tar.TypeReg, e.Stat.Size
		le.Open = func() (io.ReadCloser, error) {
			if e.IsSocket() {
				return io.NopCloser(strings.NewReader("")), nil
			}
			file, err := f.dir.Open(e)
			if err != nil {
				return nil, err
			}
			return &steadyFile{File: file, unchanged: func() error { return f.dir.Unchanged(e, file) }}, nil
		}
	}
	return le
}

// gitMode is the mode that git checks out under the usual umask: 0755 for a
// directory and for a file that its owner may execute, else 0644.
func gitMode(mode uint32) int64 {
	if mode&unix.S_IFMT == unix.S_IFDIR || mode&unix.S_IXUSR != 0 {
		return 0o755
	}
	return 0o644
}

// steadyFile fails when it is closed if it was changed while it was read.
type steadyFile struct {
	*os.File
	unchanged func() error
}

// Close looks at the file's stat data once more.
func (f *steadyFile) Close() error { return errors.Join(f.unchanged(), f.File.Close()) }

// Digests gives the files' digests, from the cache where they have not
// changed.
func (f *contextFiles) Digests(ctx context.Context, entries []*layer.Entry) ([]digest.Digest, error) {
	originals := make([]*buildcontext.Entry, len(entries))
	f.mu.Lock()
	for i, e := range entries {
		originals[i] = f.known[e.Path]
	}
	f.mu.Unlock()
	return f.dir.Digests(ctx, originals)
}

// Remember keeps a digest for the next build.
func (f *contextFiles) Remember(e *layer.Entry, d digest.Digest) {
	f.mu.Lock()
	original := f.known[e.Path]
	f.mu.Unlock()
	if original != nil && f.digests != nil {
		f.digests.Put(original.Path, original.Stat.Full(), d)
	}
}

// stageSource is an earlier stage as a source of COPY --from.
type stageSource struct {
	b *build
	s *dockerfile.Stage
}

func (s stageSource) Known(ctx context.Context) (*stage.State, error) {
	return s.b.defined(ctx, s.s)
}

// Awaits names the stage where it isn't built yet.
func (s stageSource) Awaits() string {
	s.b.mu.Lock()
	f := s.b.stages[s.s.Index]
	s.b.mu.Unlock()
	if f != nil && f.succeeded() {
		return ""
	}
	return stageName(s.s)
}

func (s stageSource) Files(ctx context.Context) (stage.Files, error) {
	st, err := s.b.solved(ctx, s.s).wait(ctx)
	if err != nil {
		return nil, err
	}
	return s.b.runner.TreeFiles(ctx, st)
}

// imageSource is an image as a source of COPY --from.
type imageSource struct {
	b *build
	w wanted
}

func (s imageSource) Known(ctx context.Context) (*stage.State, error) {
	st, err := s.b.base(ctx, s.w)
	if err != nil {
		return nil, err
	}
	return st, s.b.checkSource(s.w, st)
}

func (s imageSource) Files(ctx context.Context) (stage.Files, error) {
	st, err := s.Known(ctx)
	if err != nil {
		return nil, err
	}
	return s.b.runner.TreeFiles(ctx, st)
}
