package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/archive"
)

// looker tells what has a name: on this machine, or in a container.
type looker interface {
	// Lstat gives the type, and where a link leads to.
	Lstat(name string) (mode fs.FileMode, link string, err error)
}

// thisMachine is what the user sees.
type thisMachine struct{}

func (thisMachine) Lstat(name string) (fs.FileMode, string, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return 0, "", err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err = os.Readlink(name)
	}
	return info.Mode().Type(), link, err
}

// maxCopyLinks is how many links are followed, as in the kernel.
const maxCopyLinks = 40

// copyPlace is a path that has been looked at.
type copyPlace struct {
	path   string // with no link at its end that is to be followed
	as     string // the last name, as it was given; "." for a directory's content
	mode   fs.FileMode
	exists bool
}

// locate finds a source. A link at its end is the source itself, unless it is to
// be followed, or what is asked for is the content of a directory.
func locate(at looker, name string, follow bool) (copyPlace, error) {
	p := copyPlace{path: filepath.Clean(name), as: filepath.Base(filepath.Clean(name))}
	content, asserted := endsInDot(name), strings.HasSuffix(name, "/")
	if content || p.as == "/" || p.as == ".." {
		p.as = "."
	}
	if err := p.look(at, follow || content || asserted); err != nil {
		return p, err
	}
	switch {
	case !p.exists:
		return p, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	case (content || asserted) && p.mode != fs.ModeDir:
		return p, &fs.PathError{Op: "lstat", Path: name, Err: unix.ENOTDIR}
	case p.mode == fs.ModeSocket:
		return p, fmt.Errorf("%s is a socket, which can't be copied", name)
	}
	return p, nil
}

// endsInDot tells a path that names what is in a directory.
func endsInDot(name string) bool { return name == "." || strings.HasSuffix(name, "/.") }

// look finds out what the path is. Nothing is no error, if its directory may be
// looked at.
func (p *copyPlace) look(at looker, follow bool) error {
	for range maxCopyLinks {
		mode, link, err := at.Lstat(p.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if mode != fs.ModeSymlink || !follow {
			p.mode, p.exists = mode, true
			return nil
		}
		if !filepath.IsAbs(link) {
			dir, _ := archive.Split(p.path)
			link = strings.TrimSuffix(dir, "/") + "/" + link
		}
		p.path = link
	}
	return &fs.PathError{Op: "lstat", Path: p.path, Err: unix.ELOOP}
}

// source is what is packed. open opens a directory; the caller closes it.
func (p copyPlace) source(open func(string) (*os.File, error)) (archive.Source, error) {
	dir, name := p.path, "."
	if p.mode != fs.ModeDir {
		dir, name = archive.Split(p.path)
	}
	f, err := open(dir)
	return archive.Source{Dir: f, Name: name, As: p.as}, err
}

// Docker's words for what can't be.
var (
	errCopyDir    = errors.New("cannot copy directory")
	errNoSuchDir  = errors.New("no such directory")
	errNotADir    = errors.New("not a directory")
	errNothing    = errors.New("nothing has come")
	errNoSuchFile = errors.New("no such file or directory")
)

// landing is where a tar's entries go.
type landing struct {
	dir    string
	rename string // in place of the first name of each entry; "" keeps it
}

// land settles where a file or directory is copied to, by docker's rules: into a
// directory that is there, over a file that is there, or else under the name that
// is given, in a directory that has to be there.
func land(at looker, name string, isDir bool) (landing, error) {
	p := copyPlace{path: filepath.Clean(name)}
	if err := p.look(at, true); err != nil {
		return landing{}, err
	}
	asserted := endsInDot(name) || strings.HasSuffix(name, "/")
	switch {
	case p.exists && p.mode == fs.ModeDir:
		return landing{dir: p.path}, nil
	case p.exists && isDir:
		return landing{}, errCopyDir
	case p.exists && asserted:
		return landing{}, errNotADir
	case !p.exists && !isDir && asserted:
		return landing{}, errNoSuchDir
	}
	dir, base := archive.Split(p.path)
	above := copyPlace{path: dir}
	if err := above.look(at, true); err != nil {
		return landing{}, err
	}
	switch {
	case !above.exists:
		return landing{}, &fs.PathError{Op: "lstat", Path: filepath.Clean(dir), Err: errNoSuchFile}
	case above.mode != fs.ModeDir:
		return landing{}, errNotADir
	}
	return landing{dir: dir, rename: base}, nil
}
