package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// UncompressedSize is an annotation of a layer's descriptor, in bytes: callers of
// WriteImage give it who know it, and Manifest gives it back where the blob doesn't
// tell. It goes into the sizes that listings show, never into a manifest.
const UncompressedSize = "io.github.builder-oci.uncompressed-size"

// Manifest gives the image's manifest, checked against its digest. Layers whose
// blobs don't tell their unpacked size, but index.json does, are annotated with it.
func (l *Layout) Manifest(img Image) (*v1.Manifest, error) {
	if err := img.empty(); err != nil {
		return nil, err
	}
	m, err := l.readManifest(img.Manifest.Digest)
	if err != nil {
		return nil, damaged(img, err)
	}
	if sizes := strings.Fields(img.layers); len(sizes) == len(m.Layers) {
		for i := range m.Layers {
			m.Layers[i].Annotations = withSize(m.Layers[i].Annotations, sizes[i])
		}
	}
	return m, nil
}

func withSize(annotations map[string]string, size string) map[string]string {
	sized := map[string]string{UncompressedSize: size}
	maps.Copy(sized, annotations)
	return sized
}

// Config gives the image's config, checked against the image's id.
func (l *Layout) Config(img Image) (*ImageConfig, error) {
	if img.config != nil {
		return img.config, nil
	}
	if err := img.empty(); err != nil {
		return nil, err
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
	known := details{
		of: shortOf(target.Digest), id: m.Config.Digest,
		imageSize: l.unpackedSize(manifest, m), layers: manifest.Annotations[annotationLayers],
	}
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
	known.blobs = shortBlobs(target.Digest, reached)
	return known, nil
}

// shortBlobs is the annotation of the blobs that a descriptor's own leads to.
func shortBlobs(own digest.Digest, reached map[digest.Digest]bool) string {
	var blobs strings.Builder
	for _, d := range slices.Sorted(maps.Keys(reached)) {
		if d != own {
			blobs.WriteString(shortBlob(d))
		}
	}
	return blobs.String()
}

func shortBlob(d digest.Digest) string {
	if !validDigest(d) {
		return ""
	}
	return d.Encoded()[:blobLen]
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
