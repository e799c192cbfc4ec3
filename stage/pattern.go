package stage

import (
	"archive/tar"
	"context"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/pathorder"
	"github.com/builder-oci/builder/internal/spool"
)

// source is one thing that is copied: a file, or a directory with all that is in it.
type source struct {
	name string // its last component, "" for a source's root
	base string // what is cut off the entries' paths
	top  *File  // it itself
}

// rel is an entry's path below the source.
func (s *source) rel(f *File) string {
	return strings.TrimPrefix(strings.TrimPrefix(f.Path, s.base), "/")
}

// isDir says whether it is a directory with what is in it.
func (s *source) isDir() bool { return s.top.Type == tar.TypeDir }

// sources is what a pattern names. There may be very many of them, which are gone
// through again and again.
type sources struct {
	pattern  Pattern
	onlyDirs bool // files aren't copied
	many     int
	// someFiles and someDirs say whether some are that, and dirFirst that the first is a
	// directory.
	someFiles, someDirs, dirFirst bool
	// sorted says that the entries' paths below a destination ascend as they come.
	sorted bool
	// archives has the places of those that ADD unpacks, once needsTree was asked.
	archives map[int]bool
}

// loadPattern lists what a pattern names. With --parents files are none of it.
func (s *selection) loadPattern(ctx context.Context, files Files, pattern Pattern, f filter) error {
	it := item{files: files, filter: f, sources: &sources{pattern: pattern, onlyDirs: s.in.Parents, sorted: true}}
	if err := s.list(ctx, &it); err != nil {
		return err
	}
	if it.many > 0 {
		s.items = append(s.items, it)
	}
	return nil
}

// add takes one more source in.
func (p *sources) add(src *source) {
	if p.many++; p.many == 1 {
		p.dirFirst = src.isDir()
	}
	p.someDirs = p.someDirs || src.isDir()
	p.someFiles = p.someFiles || !src.isDir()
}

// below is where an entry lands below the directory that its source goes to.
func (s *source) below(f *File) string {
	if s.isDir() {
		return s.rel(f)
	}
	return s.name
}

// tell calls fn for each source of an item, with nil, and then for its entries. A
// file that is excluded by its own name is none.
func (s *selection) tell(ctx context.Context, it *item, fn func(*source, *File) error) error {
	if it.sources != nil {
		return s.tellPattern(ctx, it, fn)
	}
	if err := fn(&it.source, nil); err != nil {
		return err
	}
	return s.each(ctx, it, func(f *File) error { return fn(&it.source, f) })
}

func (s *selection) tellPattern(ctx context.Context, it *item, fn func(*source, *File) error) error {
	settle, err := s.settler()
	if err != nil {
		return err
	}
	place := it.first
	var src *source
	c := chooser{filter: it.filter, rel: func(f *File) string { return src.rel(f) }}
	c.fn = func(f *File) error {
		f.place = place
		place++
		settle(&f.Entry)
		if !src.isDir() {
			if err := fn(src, nil); err != nil {
				return err
			}
		}
		return fn(src, f)
	}
	return it.files.WalkGlob(ctx, it.pattern, func(m Match, f *File) error {
		if f.Path != m.Path {
			return c.pass(f)
		}
		src, c.above = &source{name: m.Name, base: m.Path, top: f}, nil
		if src.isDir() {
			return fn(src, nil)
		}
		if it.onlyDirs {
			return nil
		}
		src.base = parentDir(f.Path)
		return c.pass(f)
	})
}

// tellInOrder calls fn for a pattern's entries in the order of the paths that they
// have below the directory where they land, and with these. Of one path the last
// entry counts, and comes last.
func (s *selection) tellInOrder(ctx context.Context, it *item, fn func(string, *File) error) error {
	settle, err := s.settler()
	if err != nil {
		return err
	}
	sorter := spool.NewSorter(s.temp, pathorder.Compare)
	defer sorter.Close()
	err = s.tellPattern(ctx, it, func(src *source, f *File) error {
		if f == nil {
			return nil
		}
		return sorter.Add(spool.Record{Text: src.below(f), Number: f.place, Ref: f.Ref})
	})
	if err != nil {
		return err
	}
	return sorter.Each(func(r spool.Record) error {
		f, err := it.files.Again(ctx, it.pattern, r.Ref)
		if err != nil {
			return err
		}
		f.place = r.Number
		settle(&f.Entry)
		return fn(r.Text, f)
	})
}

// findArchives looks which of a pattern's files are archives.
func (s *selection) findArchives(ctx context.Context, it *item) error {
	it.archives = map[int]bool{}
	return s.tell(ctx, it, func(src *source, f *File) error {
		if f == nil || src.isDir() || f.Type != tar.TypeReg {
			return nil
		}
		is, err := isArchive(&f.Entry)
		if is {
			it.archives[f.place] = true
		}
		return err
	})
}

// hasArchives says whether something of an item is unpacked, once needsTree was
// asked.
func (it *item) hasArchives() bool {
	return it.archive || it.sources != nil && len(it.archives) > 0
}

// isArchive says whether an entry is one that is unpacked.
func (it *item) isArchive(f *File) bool {
	return it.archive || it.sources != nil && it.archives[f.place]
}

// kinds gives one source of each kind that there is, the first's first.
func (p *sources) kinds() (all []*source) {
	file, dir := &source{top: &File{}}, &source{top: &File{}}
	file.top.Type, dir.top.Type = tar.TypeReg, tar.TypeDir
	if p.someFiles {
		all = append(all, file)
	}
	if p.someDirs {
		all = append(all, dir)
	}
	if p.dirFirst {
		slices.Reverse(all)
	}
	return all
}

// isPattern says whether a source may name several.
func isPattern(source string) bool { return strings.ContainsAny(source, wildcards) }

// orderOf tells whether paths come in their order.
type orderOf struct{ last string }

func (o *orderOf) ascends(name string) bool {
	ascends := o.last == "" || pathorder.Compare(o.last, name) < 0
	o.last = name
	return ascends
}
