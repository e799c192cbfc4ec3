package layout

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/platform"
)

// Media types of docker's own formats.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig       = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	mediaTypeDockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	mediaTypeOCIForeignLayer    = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// UncompressedSize is an annotation of a layer's descriptor, in bytes, for
// callers of WriteImage who know it. It goes into the size that listings show,
// never into a manifest.
const UncompressedSize = "io.github.builder-oci.uncompressed-size"

// Manifest gives the image's manifest, checked against its digest.
func (l *Layout) Manifest(img Image) (*v1.Manifest, error) {
	m, err := l.readManifest(img.Manifest.Digest)
	if err != nil {
		return nil, damaged(img, err)
	}
	return m, nil
}

// Config gives the image's config, checked against the image's id.
func (l *Layout) Config(img Image) (*ImageConfig, error) {
	if img.config != nil {
		return img.config, nil
	}
	data, err := l.ReadBlob(img.ID)
	if err != nil {
		return nil, damaged(img, err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, damaged(img, err)
	}
	return c, nil
}

func (l *Layout) readManifest(d digest.Digest) (*v1.Manifest, error) {
	data, err := l.ReadBlob(d)
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	if m.Config.Digest == "" {
		return nil, fmt.Errorf("manifest %s has no config", d)
	}
	return &m, nil
}

// adopt finds out what a descriptor without builder's annotations stands for.
// It fails where that isn't an image or parts of it are missing.
func (l *Layout) adopt(e *entry) (details, error) {
	if !l.HasBlob(e.digest, e.size) && l.HasBlob(e.digest, -1) {
		return details{}, fmt.Errorf("%w: %s doesn't have %d bytes", ErrAbsent, e.digest, e.size)
	}
	manifest, _, err := l.ResolveAny(e.descriptor(), platform.Here())
	if err != nil {
		return details{}, err
	}
	return l.describe(e.descriptor(), manifest)
}

// IsIndex says that a media type is that of an index, OCI's or docker's.
func IsIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// describe makes what index.json tells of an image from its blobs. The target
// is an index that holds the manifest, or the manifest itself.
func (l *Layout) describe(target, manifest v1.Descriptor) (details, error) {
	m, err := l.readManifest(manifest.Digest)
	if err != nil {
		return details{}, err
	}
	data, err := l.ReadBlob(m.Config.Digest)
	if err != nil {
		return details{}, err
	}
	config, err := ParseConfig(data)
	if err != nil {
		return details{}, err
	}
	if config.OS == "" && len(config.RootFS.DiffIDs) == 0 {
		return details{}, errors.New("not an image: the config names no root file system")
	}
	known := details{of: shortOf(target.Digest), id: m.Config.Digest, imageSize: l.unpackedSize(manifest, m)}
	if config.Created != nil {
		known.created = config.Created.UTC().Format(time.RFC3339Nano)
	}
	if target.Digest != manifest.Digest {
		known.manifest = formatPlatformManifest(manifest)
	}
	reached, err := l.reach(target.Digest)
	if err != nil {
		return details{}, err
	}
	var blobs strings.Builder
	for _, d := range slices.Sorted(maps.Keys(reached)) {
		if d != target.Digest {
			blobs.WriteString(shortBlob(d))
		}
	}
	known.blobs = blobs.String()
	return known, nil
}

func shortBlob(d digest.Digest) string {
	if !validDigest(d) {
		return ""
	}
	return d.Encoded()[:blobLen]
}

// unpackedSize is what the layers take unpacked, as far as it can be told
// without reading them.
func (l *Layout) unpackedSize(manifest v1.Descriptor, m *v1.Manifest) int64 {
	if size, err := strconv.ParseInt(manifest.Annotations[annotationSize], 10, 64); err == nil {
		return size
	}
	var sum int64
	for _, layer := range m.Layers {
		sum += l.layerSize(layer)
	}
	return max(sum, 0) // a stranger's sizes may add up to anything
}

// UnpackedSize is what a layer takes unpacked, as far as it can be told without
// reading it.
func (l *Layout) UnpackedSize(layer v1.Descriptor) int64 { return l.layerSize(layer) }

// layerSize is the unpacked size of a layer where its descriptor or the last
// four bytes of its gzip stream tell it, else its compressed size. Those bytes
// count modulo 4 GiB, and of several streams in one they are the last one's:
// what is less than the compressed size is not believed.
func (l *Layout) layerSize(layer v1.Descriptor) int64 {
	if size, err := strconv.ParseInt(layer.Annotations[UncompressedSize], 10, 64); err == nil {
		return size
	}
	if !strings.HasSuffix(layer.MediaType, "gzip") {
		return layer.Size
	}
	f, err := l.OpenBlob(layer)
	if err != nil {
		return layer.Size
	}
	defer f.Close()
	var trailer [4]byte
	if _, err := f.Seek(-int64(len(trailer)), io.SeekEnd); err != nil {
		return layer.Size
	}
	if _, err := io.ReadFull(f, trailer[:]); err != nil {
		return layer.Size
	}
	return max(layer.Size, int64(binary.LittleEndian.Uint32(trailer[:])))
}

// links is every member of a manifest or index that leads to another blob.
type links struct {
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
	Blobs     []v1.Descriptor `json:"blobs"` // of an artifact manifest
	Manifests []v1.Descriptor `json:"manifests"`
	Subject   *v1.Descriptor  `json:"subject"`
}

// reach gives the digest of every blob that d leads to, d included. A manifest
// that is missing or damaged leads nowhere. Of one that can't be read at the
// moment nobody knows: then it gives those that it found, and the error.
func (l *Layout) reach(d digest.Digest) (map[digest.Digest]bool, error) {
	seen := map[digest.Digest]bool{}
	return seen, l.follow(d, seen)
}

// Blobs gives the digest of every blob that the image's descriptor leads to, be it
// there or not.
func (l *Layout) Blobs(img Image) ([]digest.Digest, error) {
	reached, err := l.reach(img.Target().Digest)
	return slices.Sorted(maps.Keys(reached)), err
}

func (l *Layout) follow(d digest.Digest, seen map[digest.Digest]bool) error {
	if seen[d] {
		return nil
	}
	seen[d] = true
	data, err := l.ReadBlob(d)
	if errors.Is(err, ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	var to links
	if json.Unmarshal(data, &to) != nil {
		return nil // a small blob of another kind
	}
	for _, m := range to.Manifests {
		err = errors.Join(err, l.follow(m.Digest, seen))
	}
	if to.Subject != nil {
		err = errors.Join(err, l.follow(to.Subject.Digest, seen))
	}
	if to.Config != nil {
		seen[to.Config.Digest] = true
	}
	for _, list := range [][]v1.Descriptor{to.Layers, to.Blobs} {
		for _, layer := range list {
			seen[layer.Digest] = true
		}
	}
	return err
}
