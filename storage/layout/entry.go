package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations of a descriptor in index.json. All but the name tell what is to
// be found in the blobs, so that listing and removing needn't read them.
const (
	annotationName = v1.AnnotationRefName
	// annotationOf is the beginning of the descriptor's digest. Where it
	// differs another tool has put a new digest under old annotations, and the
	// others don't count.
	annotationOf      = "io.github.builder-oci.of"
	annotationID      = "io.github.builder-oci.id"
	annotationCreated = "io.github.builder-oci.created"
	annotationSize    = "io.github.builder-oci.size"
	// annotationLayers is the unpacked size of each layer, where the blobs don't
	// tell it: those of zstd, and of more than 4 GiB.
	annotationLayers   = "io.github.builder-oci.layers"
	annotationManifest = "io.github.builder-oci.manifest" // digest, size, media type
	// annotationBase is the platform and the name for which CommitBase keeps an
	// image.
	annotationBase = "io.github.builder-oci.base"
	// annotationDigests is the digests by which the name's repository knows the
	// image: it was pulled from there or pushed to it.
	annotationDigests = "io.github.builder-oci.digests"
	// annotationBlobs is the first eight digits of the digest of every blob
	// that the descriptor's own blob leads to, strung together.
	annotationBlobs = "io.github.builder-oci.blobs"
)

// How many digits of a digest the annotations take.
const (
	ofLen   = 12
	blobLen = 8
)

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

	// broken says why the descriptor is no image, where details are empty.
	broken error
}

// details are what the annotations tell of an image.
type details struct {
	of        string
	id        digest.Digest
	created   string // RFC 3339
	imageSize int64
	layers    string // unpacked sizes, or ""
	manifest  string // of an index's platform: digest, size, media type
	base      string // platform and name, as baseOf gives them
	blobs     string
	// repoDigests are those by which the repository of the entry's name knows the
	// image, with spaces in between.
	repoDigests string
}

// entry reads one element of manifests. What is JSON but no descriptor is kept as
// it stands, and means nothing.
func (s *scanner) entry() (entry, error) {
	s.next()
	start := s.pos
	e, err := s.descriptor()
	if err == nil {
		return e, nil
	}
	s.pos = start
	text, err := s.raw()
	return entry{raw: text, broken: errNoDescriptor}, err
}

var errNoDescriptor = errors.New("it isn't a descriptor")

func (s *scanner) descriptor() (entry, error) {
	var e entry
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
	if isName(e.refName) {
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
	case annotationLayers:
		e.layers = value
	case annotationManifest:
		e.manifest = value
	case annotationBase:
		e.base = value
	case annotationBlobs:
		e.blobs = value
	case annotationDigests:
		e.repoDigests = value
	}
	return err
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
		annotationLayers:   e.layers,
		annotationManifest: e.manifest,
		annotationBase:     e.base,
		annotationBlobs:    e.blobs,
		annotationDigests:  e.repoDigests,
	}
}

// known tells whether the annotations of e are builder's and belong to its
// digest.
func (e *entry) known() bool {
	const begin = len(idPrefix)
	if !validDigest(e.id) || !validDigest(e.digest) || e.of != string(e.digest[begin:begin+ofLen]) {
		return false
	}
	for d := range strings.FieldsSeq(e.repoDigests) {
		if !validDigest(digest.Digest(d)) {
			return false
		}
	}
	return e.manifest == "" || validDigest(parsePlatformManifest(e.manifest).Digest)
}

func shortOf(d digest.Digest) string {
	if !validDigest(d) {
		return ""
	}
	return d.Encoded()[:ofLen]
}

// rename gives e a canonical name.
func (e *entry) rename(name string) {
	e.name, e.refName, e.dirty = name, Familiar(name), true
}

// loseName takes e's name, and with it the digests by which that name's repository
// knows the image.
func (e *entry) loseName() {
	e.rename("")
	e.repoDigests = ""
}

func (e *entry) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: e.mediaType, Digest: e.digest, Size: e.size}
}

func (e *entry) image() Image {
	img := Image{Name: e.name, ID: e.id, Manifest: e.descriptor(), Size: e.imageSize, layers: e.layers}
	for d := range strings.FieldsSeq(e.repoDigests) {
		img.RepoDigests = append(img.RepoDigests, digest.Digest(d))
	}
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
