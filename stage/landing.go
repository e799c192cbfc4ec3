package stage

import (
	"archive/tar"
	"context"
	"errors"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

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
