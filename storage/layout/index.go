package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/lock"
)

// Annotations of a descriptor in index.json. All but the name tell what is to
// be found in the blobs, so that listing and removing needn't read them.
const (
	annotationName = v1.AnnotationRefName
	// annotationOf is the beginning of the descriptor's digest. Where it
	// differs another tool has put a new digest under old annotations, and the
	// others don't count.
	annotationOf       = "io.github.builder-oci.of"
	annotationID       = "io.github.builder-oci.id"
	annotationCreated  = "io.github.builder-oci.created"
	annotationSize     = "io.github.builder-oci.size"
	annotationManifest = "io.github.builder-oci.manifest" // digest, size, media type
	// annotationBlobs is the first eight digits of the digest of every blob
	// that the descriptor's own blob leads to, strung together.
	annotationBlobs = "io.github.builder-oci.blobs"
)

const (
	emptyIndex = `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`
	// Another tool may be caught in the middle of writing index.json in place.
	readTries = 5
	readPause = 20 * time.Millisecond
	ofLen     = 12
	blobLen   = 8
	// usualEntry is about how many bytes a descriptor takes.
	usualEntry = 512
)

// index is index.json in memory. What isn't changed is kept as its text.
type index struct {
	members []member // in their order; manifests has no text
	entries []entry
	changed bool
}

type member struct{ key, text string }

// entry is one descriptor of index.json.
type entry struct {
	raw   string
	dirty bool // the fields below are to be written into raw

	mediaType string
	digest    digest.Digest
	size      int64
	refName   string // as it stands in the annotation
	name      string // canonical, or ""
	details
}

// details are what the annotations tell of an image.
type details struct {
	of        string
	id        digest.Digest
	created   string // RFC 3339
	imageSize int64
	manifest  string // of an index's platform: digest, size, media type
	blobs     string
}

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
	return atomicfile.Write(l.indexPath(), text, 0o644)
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

// entry reads one descriptor.
func (s *scanner) entry() (entry, error) {
	var e entry
	s.next()
	start := s.pos
	err := s.object(func(key string) (err error) {
		switch key {
		case "mediaType":
			e.mediaType, err = s.str()
		case "digest":
			var text string
			text, err = s.str()
			e.digest = digest.Digest(text)
		case "size":
			e.size, err = s.integer()
		case "annotations":
			err = s.object(func(key string) error { return s.annotation(&e, key) })
		default:
			_, err = s.raw()
		}
		return err
	})
	e.raw = s.text[start:s.pos]
	if e.refName != "" {
		e.name = canonicalName(e.refName)
	}
	return e, err
}

func (s *scanner) annotation(e *entry, key string) error {
	value, err := s.str()
	switch key {
	case annotationName:
		e.refName = value
	case annotationOf:
		e.of = value
	case annotationID:
		e.id = digest.Digest(value)
	case annotationCreated:
		e.created = value
	case annotationSize:
		e.imageSize, _ = strconv.ParseInt(value, 10, 64) // for show; 0 where it is nonsense
	case annotationManifest:
		e.manifest = value
	case annotationBlobs:
		e.blobs = value
	}
	return err
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

// write brings the fields of e into its text, where members and annotations
// that builder doesn't know stay as they are.
func (e *entry) write() error {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(e.raw), &members); err != nil {
		return err
	}
	annotations := map[string]string{}
	if text, ok := members["annotations"]; ok {
		if err := json.Unmarshal(text, &annotations); err != nil {
			return err
		}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	for key, value := range e.annotations() {
		annotations[key] = value
		if value == "" {
			delete(annotations, key)
		}
	}
	text, err := json.Marshal(annotations)
	if err != nil {
		return err
	}
	members["annotations"] = text
	whole, err := json.Marshal(members)
	if err != nil {
		return err
	}
	e.raw, e.dirty = string(whole), false
	return nil
}

func (e *entry) annotations() map[string]string {
	size := ""
	if e.id != "" {
		size = strconv.FormatInt(e.imageSize, 10)
	}
	return map[string]string{
		annotationName:     e.refName,
		annotationOf:       e.of,
		annotationID:       e.id.String(),
		annotationCreated:  e.created,
		annotationSize:     size,
		annotationManifest: e.manifest,
		annotationBlobs:    e.blobs,
	}
}

// known tells whether the annotations of e are builder's and belong to its
// digest.
func (e *entry) known() bool {
	const begin = len(idPrefix)
	return e.id != "" && len(e.digest) > begin+ofLen && e.of == string(e.digest[begin:begin+ofLen])
}

func shortOf(d digest.Digest) string {
	if !validDigest(d) {
		return ""
	}
	return d.Encoded()[:ofLen]
}

// rename gives e a canonical name, or takes its name.
func (e *entry) rename(name string) {
	e.name, e.refName, e.dirty = name, Familiar(name), true
}

func (e *entry) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: e.mediaType, Digest: e.digest, Size: e.size}
}

func (e *entry) image() Image {
	img := Image{Name: e.name, ID: e.id, Manifest: e.descriptor(), Size: e.imageSize}
	if t, err := time.Parse(time.RFC3339Nano, e.created); err == nil {
		img.Created = t
	}
	if e.manifest != "" {
		target := img.Manifest
		img.Index, img.Manifest = &target, parsePlatformManifest(e.manifest)
	}
	return img
}

func formatPlatformManifest(d v1.Descriptor) string {
	return fmt.Sprintf("%s %d %s", d.Digest, d.Size, d.MediaType)
}

func parsePlatformManifest(s string) v1.Descriptor {
	var d v1.Descriptor
	dgst, rest, _ := strings.Cut(s, " ")
	size, mediaType, _ := strings.Cut(rest, " ")
	d.Digest, d.MediaType = digest.Digest(dgst), mediaType
	d.Size, _ = strconv.ParseInt(size, 10, 64) // 0 where it is nonsense: such a manifest counts as absent
	return d
}
