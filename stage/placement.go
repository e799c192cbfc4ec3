package stage

import (
	"archive/tar"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// placement decides where the entries of a COPY land on the parent's tree.
type placement struct {
	in     Copy
	parent *layer.Tree
	dest   string // absolute; a slash at its end asks for a directory
	owner  *owner // of all entries, where --chown says so
	dirs   int64  // mode of directories that are made on the way
	now    time.Time
	sink   func(*layer.Entry) error

	// watch, where it is set, is told of each file's entry before the sink is.
	watch func(*File, *layer.Entry)

	names   *linkNames // the selection's
	landed  landedNames
	inOrder bool // each path comes once, and before what is below it
	// written has what was made on the way. That doesn't do where paths come in any
	// order: standing tells what stands at one then.
	written  map[string]occupant
	standing func(path string) (kind byte, linkname string, err error)
	absent   string // a name that the parent doesn't have, or ""
	straight string // a path on which there is no link, or ""
}

// occupant is what COPY has to know of what stands at a place; zero for nothing.
type occupant struct {
	kind     byte
	linkname string
}

func occupantOf(e *layer.Entry) occupant { return occupant{e.Type, e.Linkname} }

func (s occupant) isDir() bool { return s.kind == tar.TypeDir }

func newPlacement(in Copy, parent *layer.Tree, dest string, sink func(*layer.Entry) error) (*placement, error) {
	p := &placement{
		in: in, parent: parent, dest: dest, now: time.Now(), sink: sink, dirs: dirMode,
		names: &linkNames{}, written: map[string]occupant{},
	}
	if in.Chmod != "" {
		mode, err := parseMode(in.Chmod)
		if err != nil {
			return nil, err
		}
		p.dirs = mode.ofDirs()
	}
	if in.Chown == "" {
		return p, nil
	}
	o, err := lookupOwner(parent, "--chown="+in.Chown, in.Chown)
	p.owner = &o
	return p, err
}

// put gives an entry its place, if what stands there lets it.
func (p *placement) put(target string, f *File) error {
	old, err := p.lookup(target)
	if err == nil {
		err = p.mayReplace(old, target, f)
	}
	if err != nil {
		return err
	}
	if old.kind != 0 && !old.isDir() {
		if err := p.goes(target); err != nil {
			return err
		}
	}
	return p.set(target, f)
}

// goes notes that what stands at a path is replaced.
func (p *placement) goes(target string) error {
	if p.inOrder {
		return nil // it is the parent's
	}
	return p.landed.went(p.names.temp, target)
}

// set gives an entry its place, whatever stands there.
func (p *placement) set(target string, f *File) error {
	placed := f.Entry
	if placed.Path != target { // or else the text is kept but once
		placed.Path = target
	}
	if p.owner != nil {
		placed.UID, placed.GID = p.owner.uid, p.owner.gid
	}
	if p.watch != nil {
		p.watch(f, &placed)
	}
	if err := p.keepLink(f, &placed); err != nil {
		return err
	}
	if p.inOrder {
		return p.sink(&placed)
	}
	return p.emit(&placed)
}

// mayReplace says by an error where what stands at a place isn't of a kind that
// docker's COPY replaces.
func (p *placement) mayReplace(old occupant, target string, f *File) error {
	const remedy = "remove it in an earlier RUN, or choose another destination"
	switch {
	case old.kind == 0 || old.isDir() == (f.Type == tar.TypeDir):
		return nil
	case f.Type == tar.TypeDir:
		return fault.New(remedy, "%s: the directory %s can't replace the file of that name in the image", p.in.Verb, target)
	}
	return fault.New(remedy, "%s: the file %s can't replace the directory of that name in the image", p.in.Verb, target)
}

// keepLink makes what is placed a link where another name of its file has
// landed, and hasn't been replaced since.
func (p *placement) keepLink(f *File, placed *layer.Entry) error {
	first, several, err := p.names.first(f)
	if err != nil || !several {
		return err
	}
	at, there, err := p.landed.at(first)
	if err != nil {
		return err
	}
	if !there || at.Path == placed.Path {
		return p.landed.land(p.names.temp, first, placed)
	}
	*placed = layer.Entry{
		Path: placed.Path, Type: tar.TypeLink, Linkname: at.Path,
		Mode: at.Mode, UID: at.UID, GID: at.GID, ModTime: at.ModTime,
	}
	return nil
}

func (p *placement) emit(e *layer.Entry) error {
	if e.Type == tar.TypeSymlink || e.Type == tar.TypeLink {
		p.straight = "" // maybe no longer
	}
	if p.standing == nil {
		p.written[e.Path] = occupantOf(e)
	}
	return p.sink(e)
}

// makeDirs makes dir and the parents that it lacks, as BuildKit does: mode 0755
// or --chmod's, owned by root or whom --chown names.
func (p *placement) makeDirs(dir string) error {
	if dir == "" {
		return nil
	}
	existing, err := p.lookup(dir)
	if err != nil {
		return err
	}
	if existing.kind != 0 {
		if !existing.isDir() {
			return fault.New("choose another destination", "%s: %s is no directory in the image", p.in.Verb, dir)
		}
		return nil
	}
	if err := p.makeDirs(parentDir(dir)); err != nil {
		return err
	}
	e := &layer.Entry{Path: dir, Type: tar.TypeDir, Mode: p.dirs, ModTime: p.now}
	if p.owner != nil {
		e.UID, e.GID = p.owner.uid, p.owner.gid
	}
	return p.emit(e)
}

// lookup gives what stands at a path now.
func (p *placement) lookup(name string) (occupant, error) {
	if p.standing != nil {
		kind, linkname, err := p.standing(name)
		return occupant{kind, linkname}, err
	}
	if e, ok := p.written[name]; ok {
		return e, nil
	}
	if p.absent != "" && (name == p.absent || strings.HasPrefix(name, p.absent+"/")) {
		return occupant{}, nil
	}
	n, err := p.parent.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		p.absent = name
		return occupant{}, nil
	}
	if err != nil {
		return occupant{}, err
	}
	return occupantOf(&n.Entry), nil
}

// follow resolves the links in a path, those just written included, inside the
// root.
func (p *placement) follow(name string) (string, error) {
	if name == p.straight {
		return name, nil
	}
	target, rest := "", strings.Split(name, "/")
	for hops := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			target = parentDir(target)
			continue
		}
		next := path.Join(target, part)
		e, err := p.lookup(next)
		if err != nil {
			return "", err
		}
		if e.kind != tar.TypeSymlink {
			target = next
			continue
		}
		if hops++; hops > 255 {
			return "", fault.New("", "too many links in %s", name)
		}
		if path.IsAbs(e.linkname) {
			target = ""
		}
		rest = append(strings.Split(e.linkname, "/"), rest...)
	}
	if target == name {
		p.straight = name
	}
	return target, nil
}

// parentDir is the directory of a path without a leading slash; "" is the root.
func parentDir(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}
