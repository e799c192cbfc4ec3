package transport

import (
	"encoding/json"
	"fmt"

	"github.com/containers/image/v5/manifest"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

const (
	// mostLayers of an image are more than any driver can stack, but for vfs;
	// docker's images have 127 at most.
	mostLayers = 1000
	// largestConfig is what registries take at most of what isn't a layer.
	largestConfig = 4 << 20
	// mediaTypeDockerZstd isn't docker's own, but used by others.
	mediaTypeDockerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	// pushAgain is the remedy for an image that is bad as it stands.
	pushAgain = "whoever keeps the image has to push it again"
)

// parseManifest reads an image's manifest. Docker's schema 2 has OCI's members.
func parseManifest(raw []byte, mediaType string) (*v1.Manifest, error) {
	switch mediaType {
	case v1.MediaTypeImageManifest, layout.MediaTypeDockerManifest:
	case manifest.DockerV2Schema1MediaType, manifest.DockerV2Schema1SignedMediaType:
		return nil, fault.New("push it again with a newer docker, or convert it: skopeo copy --format oci",
			"the image has a manifest of docker's schema 1, which has been out of use since 2017")
	default:
		return nil, fault.New("check the name: what a browser is shown isn't a registry's",
			"what the registry gives as manifest is of the unknown type %q", mediaType)
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fault.New(pushAgain, "manifest: %w", err)
	}
	if t := m.Config.MediaType; t != v1.MediaTypeImageConfig && t != layout.MediaTypeDockerConfig {
		return nil, fault.New("", "not an image but an artifact of type %q", t)
	}
	if err := checkManifest(&m); err != nil {
		return nil, fault.New(pushAgain, "manifest: %w", err)
	}
	return &m, nil
}

// checkManifest looks whether what a manifest says can be so, before anything is
// fetched for it.
func checkManifest(m *v1.Manifest) error {
	if n := len(m.Layers); n > mostLayers {
		return fmt.Errorf("%d layers are more than any machine can stack (%d)", n, mostLayers)
	}
	if m.Config.Size > largestConfig {
		return fmt.Errorf("a config of %d bytes is larger than a config can be (4 MiB)", m.Config.Size)
	}
	if err := checkDescriptor(m.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	sizes := map[digest.Digest]int64{}
	for i, l := range m.Layers {
		err := checkDescriptor(l)
		if size, again := sizes[l.Digest]; again && size != l.Size {
			err = fmt.Errorf("it has %d bytes, and before %d", l.Size, size)
		}
		sizes[l.Digest] = l.Size
		if err == nil && !isLayer(l.MediaType) {
			err = fmt.Errorf("the type %q isn't a layer's", l.MediaType)
		}
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(m.Layers), err)
		}
	}
	return nil
}

// checkDescriptor is an error for what no blob can have; the layout keeps sha256
// digests alone.
func checkDescriptor(d v1.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("%q is no digest", string(d.Digest))
	}
	if d.Digest.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%s is a digest of another kind than sha256", d.Digest)
	}
	if d.Size < 0 {
		return fmt.Errorf("%d bytes are no size", d.Size)
	}
	return nil
}

// isLayer tells the media types of layers. How one is compressed is found out by
// its content.
func isLayer(mediaType string) bool {
	switch mediaType {
	case "", v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd,
		v1.MediaTypeImageLayerNonDistributable,     //nolint:staticcheck // what is deprecated is still out there
		v1.MediaTypeImageLayerNonDistributableGzip, //nolint:staticcheck // the same
		v1.MediaTypeImageLayerNonDistributableZstd, //nolint:staticcheck // the same
		manifest.DockerV2Schema2LayerMediaType, manifest.DockerV2SchemaLayerMediaTypeUncompressed,
		mediaTypeDockerZstd,
		manifest.DockerV2Schema2ForeignLayerMediaType, manifest.DockerV2Schema2ForeignLayerMediaTypeGzip:
		return true
	}
	return false
}
