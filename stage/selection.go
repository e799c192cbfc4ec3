package stage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
)

// selection is what a COPY takes: the entries that its patterns name, with the
// mode that they will have, before it is known where they land.
type selection struct {
	in      Copy
	at      Step
	loaded  bool
	looked  bool // for archives
	items   []item
	digests [][]digest.Digest // of items' entries, in their order

	// first has the first name of each file that has several, links leads from
	// its further names to it.
	first map[FileID]*layer.Entry
	links map[*layer.Entry]*layer.Entry
}

// item is one source: a file, or a directory with all that is in it.
type item struct {
	name    string         // last component of the source, "" for a source's root
	files   Files          // where the entries are; nil for a here-document
	top     *layer.Entry   // the source itself
	entries []*layer.Entry // a directory's content, or the file alone
	base    string         // what is cut off the entries' paths
	archive bool           // an archive that ADD unpacks, once needsTree was asked

	// A source that is elsewhere: all above is only known once it was fetched.
	remote   Remote
	identity string
	excluded bool
}

// count is how many entries there are.
func (s *selection) count() int {
	n := 0
	for i := range s.items {
		n += len(s.items[i].entries)
	}
	return n
}

// rel is an entry's path below the item.
func (it *item) rel(e *layer.Entry) string {
	return strings.TrimPrefix(strings.TrimPrefix(e.Path, it.base), "/")
}

// load lists the sources. It does nothing when called again.
func (s *selection) load(ctx context.Context, from Source) error {
	if s.loaded {
		return nil
	}
	if err := s.loadSources(ctx, from); err != nil {
		return err
	}
	for _, c := range s.in.Contents {
		s.items = append(s.items, contentItem(c))
	}
	if len(s.items) > 1 && len(s.in.Sources)+len(s.in.Contents) > 1 && !asksForDir(s.in.Dest) {
		return errManyToOne(s.in.Verb, s.in.Dest)
	}
	s.loaded = true
	for i := range s.items {
		if err := s.settle(&s.items[i]); err != nil {
			return err
		}
	}
	return nil
}

// settle gives an item's entries the mode that --chmod says, and with --chown no
// owner of their own: the one that they will have is looked up where they land.
func (s *selection) settle(it *item) error {
	if s.in.Chown != "" {
		for _, e := range it.entries {
			e.UID, e.GID = 0, 0
		}
	}
	if s.in.Chmod == "" {
		return nil
	}
	mode, err := parseMode(s.in.Chmod)
	if err != nil {
		return err
	}
	for _, e := range it.entries {
		mode.apply(e)
	}
	return nil
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
		if s.in.Parents {
			err = s.loadParents(ctx, files, source, f)
		} else {
			err = s.loadSource(ctx, files, source, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loadSource lists what a source's pattern names.
func (s *selection) loadSource(ctx context.Context, files Files, pattern string, f filter) error {
	matches, err := files.Glob(pattern)
	if err != nil {
		return err
	}
	for _, m := range matches {
		it := item{name: m.Name, files: files, base: m.Path}
		if err := s.list(ctx, &it, m.Path, f); err != nil {
			return err
		}
		if it.top == nil {
			return fmt.Errorf("%s vanished while it was read", m.Path)
		}
		// A file may be excluded by its own name.
		if it.top.Type == tar.TypeDir || len(it.entries) > 0 {
			s.items = append(s.items, it)
		}
	}
	return nil
}

// list fills in an item's entries: those at and below a path that the filter
// keeps. Entries that it has already lead there.
func (s *selection) list(ctx context.Context, it *item, from string, f filter) error {
	ids := map[*layer.Entry]FileID{}
	err := it.files.Walk(ctx, from, func(e *layer.Entry, id FileID) error {
		if it.top == nil {
			it.top = e
			if e.Type == tar.TypeDir {
				return nil
			}
			it.base = path.Dir("/" + e.Path)[1:]
		}
		it.entries = append(it.entries, e)
		if id != (FileID{}) {
			ids[e] = id
		}
		return nil
	})
	if err != nil {
		return err
	}
	if it.entries, err = f.apply(it.entries, it.rel); err != nil {
		return err
	}
	for _, e := range it.entries {
		s.link(e, ids[e])
	}
	return nil
}

// link notes that an entry is another name of an earlier one.
func (s *selection) link(e *layer.Entry, id FileID) {
	if id == (FileID{}) {
		return
	}
	if s.first == nil {
		s.first, s.links = map[FileID]*layer.Entry{}, map[*layer.Entry]*layer.Entry{}
	}
	if first, ok := s.first[id]; ok {
		s.links[e] = first
	} else {
		s.first[id] = e
	}
}

func contentItem(c Content) item {
	e := &layer.Entry{
		Path: c.Name, Type: tar.TypeReg, Mode: 0o644, Size: int64(len(c.Data)), ModTime: time.Unix(0, 0),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.Data)), nil },
	}
	return item{name: c.Name, top: e, entries: []*layer.Entry{e}}
}

// needsTree says whether the entries can't be packed as they come: an archive's
// aren't at hand, and which name of a file stands first in the layer is found
// in the tree. It reads the beginning of what ADD might unpack, and so is asked
// only where the instruction is executed.
func (s *selection) needsTree() (bool, error) {
	needs := len(s.links) > 0
	for i := range s.items {
		it := &s.items[i]
		if s.extracts(it) && !s.looked && it.top.Type == tar.TypeReg && !s.isContent(i) {
			var err error
			if it.archive, err = isArchive(it.top); err != nil {
				return false, err
			}
		}
		needs = needs || it.archive
	}
	s.looked = true
	return needs, nil
}

// extracts says whether an item is unpacked if it is an archive.
func (s *selection) extracts(it *item) bool {
	if it.remote != nil {
		return s.in.ExtractRemote && !it.excluded
	}
	return s.in.Extract
}

// isContent says whether an item is a here-document; those come last.
func (s *selection) isContent(i int) bool { return i >= len(s.items)-len(s.in.Contents) }

// digest gives the digest of what the selection holds: for each entry its path
// below the source, type, mode, owner, link target, xattrs and content, and
// which are names of one file. Times are left out, so that two checkouts of the
// same files are the same.
func (s *selection) digest(ctx context.Context) (digest.Digest, error) {
	if err := s.readDigests(ctx); err != nil {
		return "", err
	}
	h := sha256.New()
	place := map[*layer.Entry]int{}
	for i := range s.items {
		it := &s.items[i]
		if it.remote != nil {
			s.digestRemote(h, it)
			continue
		}
		if s.in.Extract && s.isContent(i) {
			writeField(h, "here-document") // which ADD never unpacks
		}
		writeField(h, it.name)
		writeField(h, string(it.top.Type))
		for k, e := range it.entries {
			place[e] = len(place)
			text := describe(e)
			if first, ok := s.links[e]; ok {
				text += fmt.Sprintf(" = %d", place[first])
			}
			writeField(h, it.rel(e))
			writeField(h, text)
			writeField(h, string(s.digests[i][k]))
		}
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

func (s *selection) readDigests(ctx context.Context) error {
	if s.digests != nil {
		return nil
	}
	digests := make([][]digest.Digest, len(s.items))
	for i, it := range s.items {
		if it.remote != nil {
			continue
		}
		if s.isContent(i) {
			c := s.in.Contents[i-(len(s.items)-len(s.in.Contents))]
			digests[i] = []digest.Digest{digest.FromString(c.Data)}
			continue
		}
		ds, err := it.files.Digests(ctx, it.entries)
		if err != nil {
			return err
		}
		digests[i] = ds
	}
	s.digests = digests
	return nil
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

// inputs yields the entries for the step's record, by their paths in the source.
func (s *selection) inputs(yield func(cache.Input) bool) {
	for i := range s.items {
		it := &s.items[i]
		if it.remote != nil {
			if !yield(s.inputRemote(it)) {
				return
			}
			continue
		}
		for k, e := range it.entries {
			value := describe(e)
			if first, ok := s.links[e]; ok {
				value += fmt.Sprintf(" = %q", first.Path)
			}
			if d := s.digests[i][k]; d != "" {
				value += " " + string(d)
			}
			if !yield(cache.Input{Name: "file:" + legible(e.Path), Value: value}) {
				return
			}
		}
	}
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
