package stage

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/layer"
)

// selection is what a COPY takes: the entries that its patterns name, with the
// mode that they will have, before it is known where they land. There may be
// very many, and so they are gone through again and again rather than kept.
type selection struct {
	in     Copy
	at     Step
	temp   string // a directory for what takes more room
	loaded bool
	looked bool // for archives
	items  []item

	// count is how many entries there are, total how many bytes are in their
	// files, and holes says that some may be large and hold next to nothing.
	count int
	total int64
	holes bool
	// digests has the files' digests in the entries' order, once they are known.
	digests *spool.Table

	kept int // entries that items keep
	// names are found while the entries are counted.
	names linkNames
}

// selection gives what is yet to be loaded.
func (r *Runner) selection(in Copy, at Step) *selection {
	return &selection{in: in, at: at, temp: r.Cache.Dir(), names: linkNames{temp: r.Cache.Dir()}}
}

// item is a source, or all that a pattern names.
type item struct {
	source
	*sources          // of a pattern; nothing of source is set then
	files    Files    // where the entries are; nil for a here-document
	content  *Content // of a here-document
	archive  bool     // an archive that ADD unpacks, once needsTree was asked

	// The entries are those that lead to from, it itself, or if that is the
	// source and a directory only what is in it, and what is below it: as far as
	// the filter chooses them.
	leads  []*File
	from   string
	within bool // from is the source itself
	filter filter
	// first is the place of the first entry, count how many there are. Where they
	// are few, they are kept.
	first, count int
	kept         []*File

	// A source that is elsewhere: all above is only known once it was fetched.
	remote   Remote
	identity string
	excluded bool
}

// mostKept is how many entries of a selection are kept.
const mostKept = 2048

// load lists the sources. It does nothing when called again.
func (s *selection) load(ctx context.Context, from Source) error {
	if s.loaded {
		return nil
	}
	if err := s.loadSources(ctx, from); err != nil {
		return err
	}
	for i := range s.in.Contents {
		it := item{source: source{name: s.in.Contents[i].Name}, content: &s.in.Contents[i]}
		if err := s.list(ctx, &it); err != nil {
			return err
		}
		s.items = append(s.items, it)
	}
	if s.countSources() > 1 && len(s.in.Sources)+len(s.in.Contents) > 1 && !asksForDir(s.in.Dest) {
		return errManyToOne(s.in.Verb, s.in.Dest)
	}
	s.loaded = true
	return nil
}

// countSources counts the sources.
func (s *selection) countSources() (count int) {
	for i := range s.items {
		count += s.items[i].sourceCount()
	}
	return count
}

func (it *item) sourceCount() int {
	if it.sources != nil {
		return it.many
	}
	return 1
}

// settler gives entries the mode that --chmod says, and with --chown no owner of
// their own: the one that they will have is looked up where they land.
func (s *selection) settler() (func(*layer.Entry), error) {
	mode, err := parseMode(cmp.Or(s.in.Chmod, "0"))
	return func(e *layer.Entry) {
		if s.in.Chown != "" {
			e.UID, e.GID = 0, 0
		}
		if s.in.Chmod != "" {
			mode.apply(e)
		}
	}, err
}

// filter is what --exclude says.
func (s *selection) filter() (f filter, err error) {
	f.exclude, err = newMatcher("--exclude", s.in.Exclude)
	return f, err
}

func (s *selection) loadSources(ctx context.Context, from Source) error {
	f, err := s.filter()
	if err != nil {
		return err
	}
	var files Files
	for _, source := range s.in.Sources {
		if r, ok := s.in.Remote[source]; ok {
			it, err := remoteItem(ctx, source, r)
			if err != nil {
				return err
			}
			s.items = append(s.items, it)
			continue
		}
		if files == nil {
			if files, err = from.Files(ctx); err != nil {
				return err
			}
		}
		switch {
		case s.in.Parents:
			err = s.loadParents(ctx, files, source, f)
		case isPattern(source):
			err = s.loadPattern(ctx, files, Pattern{Glob: source}, f)
		default:
			err = files.Glob(source, func(m Match) error { return s.loadMatch(ctx, files, m, f) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *selection) loadMatch(ctx context.Context, files Files, m Match, f filter) error {
	it := item{source: source{name: m.Name, base: m.Path}, files: files, from: m.Path, within: true, filter: f}
	if err := s.list(ctx, &it); err != nil {
		return err
	}
	if it.top == nil {
		return fmt.Errorf("%s vanished while it was read", m.Path)
	}
	// A file may be excluded by its own name.
	if it.top.Type == tar.TypeDir || it.count > 0 {
		s.items = append(s.items, it)
	}
	return nil
}

// list goes through an item for the first time: it counts the entries and their
// bytes, and finds those that are names of one file.
func (s *selection) list(ctx context.Context, it *item) error {
	it.first = s.count
	if it.sources != nil {
		var order orderOf
		return s.tellPattern(ctx, it, func(src *source, f *File) error {
			if f == nil {
				it.add(src)
				return nil
			}
			it.sorted = order.ascends(src.below(f)) && it.sorted
			s.count++
			it.count++
			return s.add(f)
		})
	}
	var kept []*File
	err := s.walk(ctx, it, func(f *File) error {
		it.count++
		if s.kept+len(kept) < mostKept {
			kept = append(kept, f)
		}
		return s.add(f)
	})
	s.count += it.count
	switch {
	case it.top != nil && it.top.Type != tar.TypeDir && it.count == 1:
		it.kept = []*File{it.top} // as it is anyway
	case it.count == len(kept):
		it.kept = kept
		s.kept += it.count
	}
	return err
}

// add counts an entry's bytes.
func (s *selection) add(f *File) error {
	if further, err := s.names.isFurther(f); err != nil || further || f.Type != tar.TypeReg {
		return err
	}
	s.total += f.Size
	s.holes = s.holes || f.Size >= holeSize
	return nil
}

// each calls fn for all entries of an item. They may be kept, but not changed.
func (s *selection) each(ctx context.Context, it *item, fn func(*File) error) error {
	switch {
	case it.sources != nil:
		return s.tellPattern(ctx, it, func(_ *source, f *File) error {
			if f == nil {
				return nil
			}
			return fn(f)
		})
	case it.count > len(it.kept):
		return s.walk(ctx, it, fn)
	}
	for _, f := range it.kept {
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// walk is each without what was kept.
func (s *selection) walk(ctx context.Context, it *item, fn func(*File) error) error {
	settle, err := s.settler()
	if err != nil {
		return err
	}
	place := it.first
	c := chooser{filter: it.filter, rel: it.rel, fn: func(f *File) error {
		f.place = place
		place++
		settle(&f.Entry)
		return fn(f)
	}}
	if it.content != nil {
		it.top = it.content.file()
		return c.pass(it.top)
	}
	for _, f := range it.leads {
		lead := *f
		if err := c.pass(&lead); err != nil {
			return err
		}
	}
	atTop := it.within
	return it.files.Walk(ctx, it.from, func(f *File) error {
		if !atTop {
			return c.pass(f)
		}
		atTop = false
		if it.top == nil {
			it.top = f
		}
		if f.Type == tar.TypeDir {
			return nil
		}
		it.base = parentDir(f.Path)
		return c.pass(f)
	})
}

// file is a here-document as an entry.
func (c *Content) file() *File {
	return &File{Entry: layer.Entry{
		Path: c.Name, Type: tar.TypeReg, Mode: 0o644, Size: int64(len(c.Data)), ModTime: time.Unix(0, 0),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.Data)), nil },
	}}
}

// needsTree says whether the entries can't be packed as they come: an archive's
// aren't at hand, and which name of a file stands first in the layer is found
// in the tree. It reads the beginning of what ADD might unpack, and so is asked
// only where the instruction is executed.
func (s *selection) needsTree(ctx context.Context) (bool, error) {
	for i := range s.items {
		it := &s.items[i]
		if s.looked || !s.extracts(it) || it.content != nil {
			continue
		}
		var err error
		switch {
		case it.sources != nil:
			err = s.findArchives(ctx, it)
		case it.top.Type == tar.TypeReg:
			it.archive, err = isArchive(&it.top.Entry)
		}
		if err != nil {
			return false, err
		}
	}
	s.looked = true
	return s.names.further > 0 || s.hasArchives(), nil
}

// hasArchives says whether something is unpacked, once needsTree was asked.
func (s *selection) hasArchives() bool {
	return slices.ContainsFunc(s.items, func(it item) bool { return it.hasArchives() })
}

// extracts says whether an item is unpacked if it is an archive.
func (s *selection) extracts(it *item) bool {
	if it.remote != nil {
		return s.in.ExtractRemote && !it.excluded
	}
	return s.in.Extract
}

// describe puts what an entry is, beside its content, on one line.
func describe(e *layer.Entry) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%c %04o %d:%d", e.Type, e.Mode, e.UID, e.GID)
	if e.Linkname != "" {
		fmt.Fprintf(&b, " -> %q", e.Linkname)
	}
	if e.Type == tar.TypeChar || e.Type == tar.TypeBlock {
		fmt.Fprintf(&b, " %d,%d", e.Devmajor, e.Devminor)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(&b, " %q=%q", name, e.Xattrs[name])
	}
	return b.String()
}

// legible gives a path as records and people can read it: one with bytes that
// can't be printed, such as a newline or what isn't UTF-8, in Go's quotes.
func legible(path string) string {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(path) || strings.ContainsFunc(path, unprintable) {
		return strconv.Quote(path)
	}
	return path
}
