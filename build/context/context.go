// Package context reads a build context: a directory whose entries COPY and
// ADD take, less what .dockerignore leaves out. It lists and digests tens of
// thousands of files in tens of milliseconds and never follows a link out of
// the directory.
//
// Start at OpenDir; FindDockerfile finds the text that belongs to a context.
//
// Extended attributes of a context's files are not read: they are the
// checkout's, like owner and times, not the project's, so that the same commit
// gives the same image on every machine.
package context

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Options say how a directory is read.
type Options struct {
	// Dockerfile is the path of the build's Dockerfile; where a file of that
	// name with ".dockerignore" behind it exists, it is read in place of the
	// context's own .dockerignore. "" where there is none, such as stdin.
	Dockerfile string
	// Digests remembers the digests of files between builds; nil for none.
	Digests DigestCache
}

// DigestCache remembers content digests by a file's path and stat data. It is
// called from several goroutines at once.
type DigestCache interface {
	Get(rel string, st *unix.Stat_t) (digest.Digest, bool)
	Put(rel string, st *unix.Stat_t, d digest.Digest)
}

// Entry is one file, directory or link of a context.
type Entry struct {
	// Path is relative to the context's root, with slashes; "" is the root.
	Path string
	// Stat is the entry's own stat data; links aren't followed.
	Stat unix.Stat_t
	// Linkname is a symbolic link's target, "" for all others.
	Linkname string
}

// IsDir says whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular says whether the entry is a plain file.
func (e *Entry) IsRegular() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFREG }

// IsLink says whether the entry is a symbolic link.
func (e *Entry) IsLink() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK }

// Dir is an opened context directory. Its methods may be called from several
// goroutines at once.
type Dir struct {
	root string
}

// OpenDir opens a context and reads its ignore file: <Dockerfile>.dockerignore,
// else .dockerignore, else .containerignore. A directory that is missing or no
// directory, and an ignore file that can't be read, are *fault.Error.
func OpenDir(dir string, o Options) (*Dir, error) { panic("not written yet") }

// Close gives the context's descriptor back.
func (d *Dir) Close() error { panic("not written yet") }

// Root is the absolute path of the context's directory.
func (d *Dir) Root() string { return d.root }

// IgnoreFile is the ignore file's path as errors show it, "" where none is.
func (d *Dir) IgnoreFile() string { panic("not written yet") }

// Glob gives the entries that a source of COPY or ADD names, relative to the
// root and sorted; "" is the root. A pattern is matched component by component
// by docker's wildcards; links in it are followed inside the root only, the
// last one too, so that the paths given are real: what they name is no link
// unless it dangles. What the ignore file leaves out doesn't match.
//
// A source without wildcards that isn't there is a *fault.Error that says why;
// wildcards that match nothing are one as well.
func (d *Dir) Glob(pattern string) ([]Match, error) { panic("not written yet") }

// Match is one entry that a pattern of COPY or ADD names.
type Match struct {
	// Name is the last component of the path as the pattern matched it: what
	// the entry is called at its destination. "" for the root.
	Name string
	// Path is where the entry is, links followed.
	Path string
}

// Lstat gives the entry at a path that Glob or Walk gave.
func (d *Dir) Lstat(path string) (*Entry, error) { panic("not written yet") }

// Walk calls fn for the entry at path and, where that is a directory, for all
// that is in it: parents first, each directory's entries in bytewise order of
// their names. What the ignore file leaves out is left out; an ignored
// directory that holds an exception comes with what leads to that. Sockets are
// passed over as docker does; devices and FIFOs are a *fault.Error that names
// them. The entries may be kept. fn is called from one goroutine.
func (d *Dir) Walk(ctx context.Context, path string, fn func(*Entry) error) error { panic("not written yet") }

// Digest gives the sha256 of a plain file's content, from the cache where its
// stat data have not changed.
func (d *Dir) Digest(ctx context.Context, e *Entry) (digest.Digest, error) { panic("not written yet") }

// Digests gives Digest for each of the entries, reading several at once; ""
// for those that are no plain files.
func (d *Dir) Digests(ctx context.Context, entries []*Entry) ([]digest.Digest, error) { panic("not written yet") }

// Open opens a plain file that Walk gave. It fails where something else has
// taken its place since. The caller closes it.
func (d *Dir) Open(e *Entry) (*os.File, error) { panic("not written yet") }

// Excluded says whether the ignore file leaves a path out, and by which of its
// lines: ".dockerignore:3: *.log".
func (d *Dir) Excluded(path string) (bool, string) { panic("not written yet") }

// FindDockerfile reads the build's Dockerfile. flag is the value of --file: a
// path seen from the working directory or, where nothing is there, from the
// context; "" looks for Dockerfile, then Containerfile in the context. name is
// how errors and progress call it. Where none is found, a *fault.Error says
// which names were tried.
func FindDockerfile(contextDir, flag string) (path string, src []byte, name string, err error) { panic("not written yet") }
