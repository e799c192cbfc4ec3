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

	names  *linkNames           // the selection's
	landed map[int]*layer.Entry // what became of first names, by their places
	// written has what the sink was given: all of it, or only the directories that
	// were made on the way where everything lands in order.
	written map[string]*layer.Entry
	inOrder bool
	absent  string          // a name that the parent doesn't have, or ""
	gone    map[string]bool // directories that an archive has replaced
}

func newPlacement(in Copy, parent *layer.Tree, dest string, sink func(*layer.Entry) error) (*placement, error) {
	p := &placement{
		in: in, parent: parent, dest: dest, now: time.Now(), sink: sink, dirs: dirMode,
		names: &linkNames{}, landed: map[int]*layer.Entry{}, written: map[string]*layer.Entry{},
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
// what they hold.
func (p *placement) place(ctx context.Context, sel *selection) error {
	p.names, p.inOrder = &sel.names, sel.inOrder()
	wantDir := strings.HasSuffix(p.dest, "/")
	dest, err := p.parent.Resolve(strings.Trim(p.dest, "/"), true)
	if err != nil {
		return err
	}
	for i := range sel.items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if sel.items[i].excluded {
			continue
		}
		// The source before may just have made it.
		existing, err := p.lookup(dest)
		if err != nil {
			return err
		}
		isDir := existing != nil && existing.Type == tar.TypeDir
		if wantDir && existing != nil && !isDir {
			return fault.New("choose another destination", "%s: the destination %s is no directory in the image", p.in.Verb, p.dest)
		}
		if err := p.item(ctx, sel, &sel.items[i], dest, wantDir || isDir); err != nil {
			return err
		}
	}
	return nil
}

func (p *placement) item(ctx context.Context, sel *selection, it *item, dest string, asDir bool) error {
	switch {
	case it.archive:
		return p.archive(it, dest)
	case it.top.Type == tar.TypeDir:
		if err := p.makeDirs(dest); err != nil {
			return err
		}
		return sel.each(ctx, it, func(f *File) error { return p.put(path.Join(dest, it.rel(f)), f) })
	case asDir:
		if err := p.makeDirs(dest); err != nil {
			return err
		}
		return p.put(path.Join(dest, it.name), it.top)
	default:
		if err := p.makeDirs(parentDir(dest)); err != nil {
			return err
		}
		return p.put(dest, it.top)
	}
}

// put gives an entry its place. What stands there must be of a kind that
// docker's COPY replaces.
func (p *placement) put(target string, f *File) error {
	e := &f.Entry
	old, err := p.lookup(target)
	if err != nil {
		return err
	}
	if old != nil && (old.Type == tar.TypeDir) != (e.Type == tar.TypeDir) {
		if e.Type == tar.TypeDir {
			return fault.New("remove it in an earlier RUN, or choose another destination",
				"%s: the directory %s can't replace the file of that name in the image", p.in.Verb, target)
		}
		return fault.New("remove it in an earlier RUN, or choose another destination",
			"%s: the file %s can't replace the directory of that name in the image", p.in.Verb, target)
	}
	placed := *e
	if placed.Path != target { // or else the text is kept but once
		placed.Path = target
	}
	if p.owner != nil {
		placed.UID, placed.GID = p.owner.uid, p.owner.gid
	}
	if p.watch != nil {
		p.watch(f, &placed)
	}
	p.keepLink(f, &placed)
	if p.inOrder {
		return p.sink(&placed)
	}
	return p.emit(&placed)
}

// keepLink makes what is placed a link where another name of its file has
// landed, and hasn't been replaced since.
func (p *placement) keepLink(f *File, placed *layer.Entry) {
	first, isFurther := p.names.links[f.place]
	if !isFurther {
		if first = f.place; !p.names.firsts[first] {
			return
		}
	}
	at := p.landed[first]
	if at == nil || !p.inOrder && p.written[at.Path] != at || at.Path == placed.Path {
		p.landed[first] = placed
		return
	}
	*placed = layer.Entry{
		Path: placed.Path, Type: tar.TypeLink, Linkname: at.Path,
		Mode: at.Mode, UID: at.UID, GID: at.GID, ModTime: at.ModTime,
	}
}

func (p *placement) emit(e *layer.Entry) error {
	p.written[e.Path] = e
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
	if existing != nil {
		if existing.Type != tar.TypeDir {
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

// lookup gives what stands at a path now, nil for nothing.
func (p *placement) lookup(name string) (*layer.Entry, error) {
	if e, ok := p.written[name]; ok {
		return e, nil
	}
	if p.absent != "" && (name == p.absent || strings.HasPrefix(name, p.absent+"/")) || p.isGone(name) {
		return nil, nil
	}
	n, err := p.parent.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		p.absent = name
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &n.Entry, nil
}

// follow resolves the links in a path, those just written included, inside the
// root.
func (p *placement) follow(name string) (string, error) {
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
		if e == nil || e.Type != tar.TypeSymlink {
			target = next
			continue
		}
		if hops++; hops > 255 {
			return "", fault.New("", "too many links in %s", name)
		}
		if path.IsAbs(e.Linkname) {
			target = ""
		}
		rest = append(strings.Split(e.Linkname, "/"), rest...)
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
