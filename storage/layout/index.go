package layout

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/lock"
)

const (
	emptyIndex = `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`
	// Another tool may be caught in the middle of writing index.json in place: one
	// that is cut short is read again while it is as young as this.
	writingTime = 2 * time.Second
	readTries   = 100
	readPause   = 20 * time.Millisecond
	// largestIndex is how much is read of index.json; ten thousand images take
	// 8 MB.
	largestIndex = 128 << 20
	// usualEntry is about how many bytes a descriptor takes.
	usualEntry = 512
)

// index is index.json in memory. What isn't changed is kept as its text.
type index struct {
	members []member // in their order; manifests has no text
	entries []entry
	changed bool
	// dropped are the digests of descriptors that went because their image has
	// others.
	dropped []digest.Digest
}

type member struct{ key, text string }

func (l *Layout) indexPath() string { return filepath.Join(l.dir, v1.ImageIndexFile) }

// read gives index.json as it stands now; one that is missing is empty.
func (l *Layout) read() (*index, error) {
	for try := 1; ; try++ {
		text, err := readText(l.indexPath(), largestIndex)
		if errors.Is(err, fs.ErrNotExist) {
			return parseIndex(emptyIndex)
		}
		if errors.Is(err, errNotFile) || errors.Is(err, errTooLarge) {
			return nil, l.damagedIndex(err)
		}
		if err != nil {
			return nil, err
		}
		if last := l.last.Swap(nil); last != nil && last.isText(text) {
			return last, nil
		}
		ix, err := parseIndex(text)
		if err == nil {
			return ix, nil
		}
		if try == readTries || !l.isBeingWritten(text) {
			return nil, l.damagedIndex(err)
		}
		time.Sleep(readPause)
	}
}

// isBeingWritten tells whether text may be the beginning of what another tool is
// writing.
func (l *Layout) isBeingWritten(text string) bool {
	var whole json.RawMessage
	var syntax *json.SyntaxError
	if !errors.As(json.Unmarshal([]byte(text), &whole), &syntax) || syntax.Offset < int64(len(text)) {
		return false
	}
	st, err := os.Stat(l.indexPath())
	return err == nil && time.Since(st.ModTime()) < writingTime
}

func (l *Layout) damagedIndex(why error) error {
	remedy := "builder system check --repair"
	if l.lockFile == "" {
		remedy = "copy the layout again"
	}
	return fault.New(remedy, "the list of images %s is damaged: %w", l.indexPath(), why)
}

// Descriptors gives what index.json lists, as it stands there.
func (l *Layout) Descriptors() ([]v1.Descriptor, error) {
	ix, err := l.read()
	if err != nil {
		return nil, err
	}
	var all []v1.Descriptor
	for i := range ix.entries {
		var d v1.Descriptor
		if json.Unmarshal([]byte(ix.entries[i].raw), &d) == nil {
			all = append(all, d)
		}
	}
	return all, nil
}

// change lets fn change index.json under the lock. Descriptors that other tools
// have added are annotated on the way.
func (l *Layout) change(ctx context.Context, fn func(*index) error) error {
	held, err := lock.Exclusive(ctx, l.lockFile)
	if err != nil {
		return err
	}
	defer held.Unlock()
	ix, err := l.read()
	if err != nil {
		return err
	}
	l.adoptAll(ix)
	if err := fn(ix); err != nil {
		return err
	}
	if !ix.changed {
		l.last.Store(ix)
		return nil
	}
	l.removeLeftovers()
	if err := l.noteDropped(ix); err != nil {
		return err
	}
	if err := atomicfile.Stream(l.indexPath(), 0o644, ix.write); err != nil {
		return err
	}
	ix.changed = false
	l.last.Store(ix)
	return nil
}

// removeLeftovers removes what writers of index.json that were killed have left
// behind. There is no living one: the caller holds the lock.
func (l *Layout) removeLeftovers() {
	names, err := filepath.Glob(filepath.Join(l.dir, atomicfile.Prefix+v1.ImageIndexFile+"-*"))
	if err != nil {
		return
	}
	for _, name := range names {
		_ = os.Remove(name) // the next writer tries again
	}
}

// adoptAll finds out what the descriptors that builder didn't write stand for. Of
// those that aren't images nothing is believed.
func (l *Layout) adoptAll(ix *index) {
	type blobKey struct {
		mediaType string
		digest    digest.Digest
		size      int64
	}
	type answer struct {
		details
		err error
	}
	answers := map[blobKey]*answer{} // the same blob may have thousands of names
	for i := range ix.entries {
		e := &ix.entries[i]
		if e.known() || e.broken == errNoDescriptor {
			continue
		}
		asked := blobKey{e.mediaType, e.digest, e.size}
		known := answers[asked]
		if known == nil {
			d, err := l.adopt(e)
			known = &answer{d, err}
			answers[asked] = known
		}
		e.details, e.broken = known.details, known.err
		if e.broken == nil {
			e.dirty, ix.changed = true, true
		}
	}
}

func parseIndex(text string) (*index, error) {
	ix := &index{entries: make([]entry, 0, len(text)/usualEntry)}
	s := &scanner{text: text}
	found := false
	err := s.object(func(key string) error {
		if key != "manifests" {
			value, err := s.raw()
			ix.members = append(ix.members, member{key, value})
			return err
		}
		if found {
			return s.fail()
		}
		found = true
		ix.members = append(ix.members, member{key: key})
		return s.array(func() error {
			e, err := s.entry()
			ix.entries = append(ix.entries, e)
			return err
		})
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	if !found {
		ix.members = append(ix.members, member{key: "manifests"})
	}
	ix.dropSecondNames()
	return ix, nil
}

// dropSecondNames leaves each name with its last descriptor, as the tools do
// that add one behind the others.
func (ix *index) dropSecondNames() {
	last := make(map[string]int, len(ix.entries))
	for i := range ix.entries {
		name := ix.entries[i].name
		if name == "" {
			continue
		}
		if earlier, taken := last[name]; taken {
			ix.entries[earlier].loseName()
		}
		last[name] = i
	}
}

// write writes the text of index.json.
func (ix *index) write(w io.Writer) error {
	b := bufio.NewWriterSize(w, copyBuffer)
	for i, m := range ix.members {
		key, err := json.Marshal(m.key)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(b, "%s%s:%s", separator(i, "{"), key, m.text) // Flush has the error
		if m.key == "manifests" {
			if err := ix.writeEntries(b); err != nil {
				return err
			}
		}
	}
	_ = b.WriteByte('}')
	return b.Flush()
}

func (ix *index) writeEntries(b *bufio.Writer) error {
	for i := range ix.entries {
		if e := &ix.entries[i]; e.dirty {
			if err := e.write(); err != nil {
				return err
			}
		}
		_, _ = b.WriteString(separator(i, "["))
		_, _ = b.WriteString(ix.entries[i].raw)
	}
	if len(ix.entries) == 0 {
		_ = b.WriteByte('[')
	}
	return b.WriteByte(']')
}

// separator is what stands before the i-th member or element.
func separator(i int, open string) string {
	if i == 0 {
		return open
	}
	return ","
}

// isText tells whether text is what ix would be written as.
func (ix *index) isText(text string) bool {
	c := comparer{rest: text}
	return ix.write(&c) == nil && c.rest == ""
}

// comparer takes nothing but a certain text.
type comparer struct{ rest string }

var errDiffers = errors.New("not the text")

func (c *comparer) Write(p []byte) (int, error) {
	if len(p) > len(c.rest) || c.rest[:len(p)] != string(p) {
		return 0, errDiffers
	}
	c.rest = c.rest[len(p):]
	return len(p), nil
}
