// Package context reads a build context: a directory whose entries COPY and
// ADD take, less what .dockerignore leaves out and what is builder's own. It
// lists and digests tens of thousands of files in tens of milliseconds and never
// follows a link out of the directory.
//
// Start at OpenDir; FindDockerfile finds the text that belongs to a context.
//
// Extended attributes of a context's files are not read: they are the
// checkout's, like owner and times, not the project's, so that the same commit
// gives the same image on every machine.
package context

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Options say how a directory is read.
type Options struct {
	// Dockerfile is the path of the build's Dockerfile; where a file of that
	// name with ".dockerignore" behind it exists, it is read in place of the
	// context's own .dockerignore. "" where there is none, such as stdin.
	Dockerfile string
	// IgnoreFile is the path of a file that is read in place of all of these;
	// "" for none.
	IgnoreFile string
	// Whole says that no ignore file is read.
	Whole bool
	// Own are builder's own directories. One that lies in the context is left
	// out with all that is in it, whatever the ignore file says.
	Own []Own
	// Fetched says that the directory is a copy, of whose place errors needn't
	// speak.
	Fetched bool
	// Digests remembers the digests of files between builds; nil for none.
	Digests DigestCache
}

// DigestCache remembers content digests by a file's path and stat data. It is
// called from several goroutines at once.
type DigestCache interface {
	Get(rel string, st *unix.Stat_t) (digest.Digest, bool)
	Put(rel string, st *unix.Stat_t, d digest.Digest)
}

// Dir is an opened context directory. Its methods may be called from several
// goroutines at once.
type Dir struct {
	root    string
	called  string // the context in errors
	fd      int    // O_PATH descriptor of root
	ignore  *ignoreRules
	own     ownDirs
	digests DigestCache
	// byParts opens paths component by component, where the kernel or a
	// seccomp filter refuses openat2.
	byParts bool
}

// OpenDir opens a context and reads its ignore file: the one that is named, else
// <Dockerfile>.dockerignore,
// else .dockerignore, else .containerignore. A directory that is missing or no
// directory, and an ignore file that can't be read, are *fault.Error.
func OpenDir(dir string, o Options) (*Dir, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	fd, err := openRoot(root)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fault.New("name the directory that COPY takes its files from, such as .", "the build context %s doesn't exist", dir)
	case errors.Is(err, unix.ENOTDIR):
		return nil, fault.New("name a directory", "the build context %s is a file, no directory", dir)
	case err != nil:
		return nil, fault.New("", "the build context %s: %w", dir, err)
	}
	d := &Dir{root: root, fd: fd, digests: o.Digests, called: "the build context " + root}
	if o.Fetched {
		d.called = "the build context"
	}
	d.byParts = !d.haveOpenat2()
	d.own = d.inside(o.Own)
	if o.Whole {
		return d, nil
	}
	if d.ignore, err = d.readIgnoreFile(o.IgnoreFile, o.Dockerfile); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close gives the context's descriptor back.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Root is the absolute path of the context's directory.
func (d *Dir) Root() string { return d.root }

// IgnoreFile is the ignore file's path as errors show it, "" where none is.
func (d *Dir) IgnoreFile() string {
	if d.ignore == nil {
		return ""
	}
	return d.ignore.file
}

// Excluded says whether the ignore file leaves a path out, and by which of its
// lines: ".dockerignore:3: *.log".
func (d *Dir) Excluded(path string) (bool, string) {
	if d.ignore == nil || cleanPath(path) == "" {
		return false, ""
	}
	return d.ignore.decide(cleanPath(path))
}

// Entry is one file, directory or link of a context.
type Entry struct {
	// Path is relative to the context's root, with slashes; "" is the root.
	Path string
	// Stat is the entry's own stat data; links aren't followed.
	Stat Stat
	// Linkname is a symbolic link's target, "" for all others.
	Linkname string
}

// IsDir says whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular says whether the entry is a plain file, or a socket: no layer can hold
// one, and an empty file stands for it.
func (e *Entry) IsRegular() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFREG || e.IsSocket() }

// IsSocket says whether the entry is a socket.
func (e *Entry) IsSocket() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFSOCK }

// IsLink says whether the entry is a symbolic link.
func (e *Entry) IsLink() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK }

// Lstat gives the entry at a path that Glob or Walk gave. The error wraps
// fs.ErrNotExist where nothing is there.
func (d *Dir) Lstat(path string) (*Entry, error) {
	path = cleanPath(path)
	fd, err := d.openPath(path, unix.O_PATH)
	if err != nil {
		return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	defer closeFD(fd)
	e := &Entry{Path: path}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	e.Stat = statOf(&st)
	if e.IsLink() {
		if e.Linkname, err = readlinkat(fd, "", e.Stat.Size); err != nil {
			return nil, &os.PathError{Op: "readlink", Path: path, Err: err}
		}
	}
	return e, nil
}
