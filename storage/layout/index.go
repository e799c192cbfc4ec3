package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	// Another tool may be caught in the middle of writing index.json in place.
	readTries = 5
	readPause = 20 * time.Millisecond
	// usualEntry is about how many bytes a descriptor takes.
	usualEntry = 512
)

// index is index.json in memory. What isn't changed is kept as its text.
type index struct {
	members []member // in their order; manifests has no text
	entries []entry
	changed bool
	free    []digest.Digest // that the change has set free
}

type member struct{ key, text string }

func (l *Layout) indexPath() string { return filepath.Join(l.dir, v1.ImageIndexFile) }

// read gives index.json as it stands now; one that is missing is empty.
func (l *Layout) read() (*index, error) {
	var bad error
	for try := range readTries {
		if try > 0 {
			time.Sleep(readPause)
		}
		data, err := os.ReadFile(l.indexPath())
		if errors.Is(err, fs.ErrNotExist) {
			return parseIndex(emptyIndex)
		}
		if err != nil {
			return nil, err
		}
		ix, err := parseIndex(string(data))
		if err == nil {
			return ix, nil
		}
		bad = err
	}
	return nil, fault.New("builder system check --repair", "the list of images %s is damaged: %w", l.indexPath(), bad)
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
		return nil
	}
	text, err := ix.render()
	if err != nil {
		return err
	}
	l.removeLeftovers()
	if err := atomicfile.Write(l.indexPath(), text, 0o644); err != nil {
		return err
	}
	l.settle(ix.free)
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

// adoptAll annotates the descriptors that builder didn't write, as far as they
// are images.
func (l *Layout) adoptAll(ix *index) {
	for i := range ix.entries {
		if e := &ix.entries[i]; !e.known() {
			if l.adopt(e) == nil {
				ix.changed = true
			}
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
			ix.entries[earlier].rename("")
		}
		last[name] = i
	}
}

// render gives the text of index.json.
func (ix *index) render() ([]byte, error) {
	var b bytes.Buffer
	b.Grow(ix.textSize())
	b.WriteByte('{')
	for i, m := range ix.members {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		if m.key != "manifests" {
			b.WriteString(m.text)
			continue
		}
		if err := ix.renderEntries(&b); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (ix *index) renderEntries(b *bytes.Buffer) error {
	b.WriteByte('[')
	for i := range ix.entries {
		if i > 0 {
			b.WriteByte(',')
		}
		if e := &ix.entries[i]; e.dirty {
			if err := e.write(); err != nil {
				return err
			}
		}
		b.WriteString(ix.entries[i].raw)
	}
	b.WriteByte(']')
	return nil
}

// textSize is about how long the text of index.json will be.
func (ix *index) textSize() int {
	size := len(emptyIndex) + 2*usualEntry
	for i := range ix.entries {
		size += len(ix.entries[i].raw) + 1
	}
	return size
}
