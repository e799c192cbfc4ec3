package stage

import (
	"archive/tar"
	"context"
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

// place hands all entries of the selection to the sink, directories before
// what they hold: in the order of a [layer.Source] and each path once, unless
// archives are among them, which come as they are.
func (p *placement) place(ctx context.Context, sel *selection) (err error) {
	defer func() { err = errors.Join(err, p.landed.close()) }()
	p.names, p.inOrder = &sel.names, !sel.hasArchives()
	dest, err := p.parent.Resolve(strings.Trim(p.dest, "/"), true)
	if err != nil {
		return err
	}
	var landings []landing
	for i := range sel.items {
		if err := ctx.Err(); err != nil {
			return err
		}
		it := &sel.items[i]
		if it.excluded {
			continue
		}
		if !p.inOrder {
			if err := p.placeAsTheyCome(ctx, sel, it, dest); err != nil {
				return err
			}
			continue
		}
		l, err := p.landingOf(it, dest)
		if err != nil {
			return err
		}
		landings = append(landings, l)
	}
	return p.merge(ctx, sel, landings)
}

// placeAsTheyCome places an item's entries, and what archives hold.
func (p *placement) placeAsTheyCome(ctx context.Context, sel *selection, it *item, dest string) error {
	var l landing
	return sel.tell(ctx, it, func(src *source, f *File) (err error) {
		switch {
		case f == nil && src.isDir():
			l, err = p.landing(src, dest)
			return err
		case f == nil:
			return nil // its entry comes
		case src.isDir():
			return p.put(l.target(src, f), f)
		case it.isArchive(f):
			if _, err := p.destination(dest); err != nil {
				return err
			}
			return p.archive(f, dest)
		}
		l, err = p.landing(src, dest)
		if err != nil {
			return err
		}
		return p.put(l.target(src, f), f)
	})
}

// landing is where sources land: what is in a directory below dir, and a file there
// by its name, or as dir itself.
type landing struct {
	it    *item
	dir   string
	exact bool
}

// target is where an entry lands.
func (l landing) target(src *source, f *File) string {
	if l.exact {
		return l.dir
	}
	return path.Join(l.dir, src.below(f))
}

// landingOf finds out where an item lands, after those before it.
func (p *placement) landingOf(it *item, dest string) (l landing, err error) {
	all := []*source{&it.source}
	if it.sources != nil {
		all = it.kinds()
	}
	for i, src := range all {
		next, err := p.landing(src, dest)
		if err != nil {
			return l, err
		}
		if i == 0 {
			l = next
		}
	}
	l.it = it
	return l, nil
}

// landing finds out where the next source lands, after those before it, and makes
// the directories that lead there.
func (p *placement) landing(src *source, dest string) (landing, error) {
	existing, err := p.destination(dest)
	if err != nil {
		return landing{}, err
	}
	if src.isDir() || strings.HasSuffix(p.dest, "/") || existing.isDir() {
		return landing{dir: dest}, p.makeDirs(dest)
	}
	err = p.makeDirs(parentDir(dest))
	if p.inOrder {
		p.written[dest] = occupant{kind: tar.TypeReg} // there will be a file of some kind
	}
	return landing{dir: dest, exact: true}, err
}

// destination gives what stands at the destination. A file where a directory is
// asked for is an error.
func (p *placement) destination(dest string) (occupant, error) {
	existing, err := p.lookup(dest)
	if err == nil && strings.HasSuffix(p.dest, "/") && existing.kind != 0 && !existing.isDir() {
		err = fault.New("choose another destination", "%s: the destination %s is no directory in the image", p.in.Verb, p.dest)
	}
	return existing, err
}

// each calls fn for each of the item's entries in the order of where they land.
func (l landing) each(ctx context.Context, sel *selection, fn func(target string, f *File) error) error {
	if l.it.sources != nil && !l.it.sorted && !l.exact {
		return sel.tellInOrder(ctx, l.it, func(below string, f *File) error { return fn(path.Join(l.dir, below), f) })
	}
	return sel.tell(ctx, l.it, func(src *source, f *File) error {
		if f == nil {
			return nil
		}
		return fn(l.target(src, f), f)
	})
}

// meets says that several entries may land at one place.
func (l landing) meets() bool { return l.it.sources != nil && (l.exact || !l.it.sorted) }

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
