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
	"github.com/builder-oci/builder/storage"
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

func (s *contextSource) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		return
	}
	s.files.close()
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

	// temp is where long listings are kept.
	temp string

	mu sync.Mutex
	// walked has what each path held, or pattern named. A build that first looks
	// its steps up and then executes them lists a path only once.
	walked map[string]*buildcontext.Listing
}

// openContext opens a directory, less what is the store's own. The store remembers
// the digests of its files, unless it was fetched.
func openContext(p contextPlace, store *storage.Store) (*contextFiles, error) {
	root, err := filepath.Abs(p.dir)
	if err != nil {
		return nil, err
	}
	o := buildcontext.Options{Dockerfile: p.dockerfile, IgnoreFile: p.ignoreFile, Fetched: p.fetched}
	var digests *cache.Files
	if !p.fetched {
		if digests, err = store.Cache().OpenFiles(root); err != nil {
			return nil, err
		}
		o.Digests, o.Own = digests, ownDirs(store)
	}
	d, err := buildcontext.OpenDir(p.dir, o)
	if err != nil {
		return nil, err
	}
	f := filesOf(d, digests)
	f.place = p
	if !p.fetched {
		f.temp = store.Cache().Dir()
	}
	return f, nil
}

// ownDirs are where builder writes while it reads a context. They may lie in it: what
// a CI job keeps for the next one often has to be below the project's directory.
func ownDirs(store *storage.Store) []buildcontext.Own {
	return []buildcontext.Own{
		{Dir: store.Root(), Called: "builder's own store"},
		{Dir: store.RunDir(), Called: "builder's own run-time directory"},
	}
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
// remembered: then the directory is a copy that lies beside others.
func filesOf(d *buildcontext.Dir, digests *cache.Files) *contextFiles {
	return &contextFiles{
		dir: d, digests: digests, temp: filepath.Dir(d.Root()),
		ahead:  digesting{done: map[string]func(){}},
		walked: map[string]*buildcontext.Listing{},
	}
}

// close keeps the digests for the next build.
func (f *contextFiles) close() {
	if f.digests != nil {
		_ = errors.Join(f.digests.Save(), f.digests.Close()) // what isn't remembered is read again
	}
	for _, l := range f.walked {
		_ = l.Close() // only read
	}
	_ = f.dir.Close()
}

// Glob gives what a pattern names in the context.
func (f *contextFiles) Glob(pattern string, fn func(stage.Match) error) error {
	f.ahead.end(ofPattern(pattern))
	return f.dir.Glob(pattern, func(m buildcontext.Match) error { return fn(stage.Match(m)) })
}

// WalkGlob gives all that a pattern names, each with what is below it.
func (f *contextFiles) WalkGlob(ctx context.Context, p stage.Pattern, fn func(stage.Match, *stage.File) error) error {
	f.ahead.end(ofPattern(p.Glob))
	return f.walkGlob(ctx, p, fn)
}

func (f *contextFiles) walkGlob(ctx context.Context, p stage.Pattern, fn func(stage.Match, *stage.File) error) error {
	l, err := f.globbed(ctx, p)
	if err != nil {
		return err
	}
	return l.EachMatch(func(m buildcontext.Match, e *buildcontext.Entry, at int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		file := f.file(e)
		file.Ref = at
		return fn(stage.Match(m), file)
	})
}

// Again gives an entry that WalkGlob gave.
func (f *contextFiles) Again(ctx context.Context, p stage.Pattern, ref int64) (*stage.File, error) {
	l, err := f.globbed(ctx, p)
	if err != nil {
		return nil, err
	}
	e, err := l.At(ref)
	if err != nil {
		return nil, err
	}
	return f.file(e), nil
}

// globbed lists what a pattern names.
func (f *contextFiles) globbed(ctx context.Context, p stage.Pattern) (*buildcontext.Listing, error) {
	return f.listed(ofPattern(p.Glob)+"\x00"+p.Below, func() (*buildcontext.Listing, error) {
		return f.dir.ListGlob(ctx, p.Glob, p.Below, f.temp)
	})
}

// Lstat gives the entry at a path.
func (f *contextFiles) Lstat(path string) (*stage.File, error) {
	e, err := f.dir.Lstat(path)
	if err != nil {
		return nil, err
	}
	return f.file(e), nil
}

// Walk gives the entry at a path and all below it.
func (f *contextFiles) Walk(ctx context.Context, path string, fn func(*stage.File) error) error {
	f.ahead.end(path)
	return f.walk(ctx, path, fn)
}

func (f *contextFiles) walk(ctx context.Context, path string, fn func(*stage.File) error) error {
	l, err := f.list(ctx, path)
	if err != nil {
		return err
	}
	return f.each(ctx, l, fn)
}

func (f *contextFiles) each(ctx context.Context, l *buildcontext.Listing, fn func(*stage.File) error) error {
	return l.Each(func(e *buildcontext.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(f.file(e))
	})
}

func (f *contextFiles) list(ctx context.Context, path string) (*buildcontext.Listing, error) {
	return f.listed(path, func() (*buildcontext.Listing, error) { return f.dir.List(ctx, path, f.temp) })
}

// listed lists what hasn't been listed under a name.
func (f *contextFiles) listed(name string, list func() (*buildcontext.Listing, error)) (*buildcontext.Listing, error) {
	f.mu.Lock()
	known, ok := f.walked[name]
	f.mu.Unlock()
	if ok {
		return known, nil
	}
	l, err := list()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.walked[name]; ok {
		return known, l.Close()
	}
	f.walked[name] = l
	return l, nil
}

// file gives an entry as a layer would hold it.
func (f *contextFiles) file(e *buildcontext.Entry) *stage.File {
	return &stage.File{Entry: f.entry(e), ID: stage.FileIDOf(e.Stat.Full()), Origin: e}
}

func (f *contextFiles) entry(e *buildcontext.Entry) layer.Entry {
	le := layer.Entry{
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
func (f *contextFiles) Digests(ctx context.Context, files []*stage.File) ([]digest.Digest, error) {
	entries := make([]*buildcontext.Entry, len(files))
	for i, file := range files {
		entries[i] = origin(file)
	}
	return f.dir.Digests(ctx, entries)
}

// Remember keeps a digest for the next build.
func (f *contextFiles) Remember(file *stage.File, d digest.Digest) {
	if f.digests != nil {
		e := origin(file)
		f.digests.Put(e.Path, e.Stat.Full(), d)
	}
}

// origin is the context's entry of a file.
func origin(file *stage.File) *buildcontext.Entry {
	e, _ := file.Origin.(*buildcontext.Entry)
	return e
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
