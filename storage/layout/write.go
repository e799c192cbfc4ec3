package layout

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

// WriteImage stores config and manifest of an image whose layers are (or will
// be, before Commit) in the layout, base first, one for each of the config's
// diffIDs. The layers' media types are turned into the format's. Annotations
// belong to the manifest; docker's format has none. It gives the manifest's
// descriptor, to be handed to Commit as it is, and the image's id.
func WriteImage(ctx context.Context, l *Layout, cfg *ImageConfig, layers []v1.Descriptor,
	format Format, annotations map[string]string,
) (manifest v1.Descriptor, id digest.Digest, err error) {
	if len(layers) != len(cfg.RootFS.DiffIDs) {
		return manifest, "", fmt.Errorf("image with %d layers and %d diffIDs", len(layers), len(cfg.RootFS.DiffIDs))
	}
	m, err := newManifest(layers, format, annotations)
	if err != nil {
		return manifest, "", err
	}
	data, err := cfg.Marshal(format)
	if err != nil {
		return manifest, "", err
	}
	config, err := l.PutBytes(ctx, data)
	if err != nil {
		return manifest, "", err
	}
	manifest, err = l.putManifest(ctx, m, config)
	if err != nil {
		return manifest, "", err
	}
	manifest.Annotations = map[string]string{annotationSize: strconv.FormatInt(l.sizeOf(layers), 10)}
	if sizes := l.layerSizes(layers); sizes != "" {
		manifest.Annotations[annotationLayers] = sizes
	}
	return manifest, config.Digest, nil
}

// PutManifest stores an OCI manifest over a config that is in the layout
// already, and is kept in its own bytes.
func (l *Layout) PutManifest(ctx context.Context, config v1.Descriptor, layers []v1.Descriptor) (v1.Descriptor, error) {
	m, err := newManifest(layers, FormatOCI, nil)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.putManifest(ctx, m, config)
}

func (l *Layout) putManifest(ctx context.Context, m *v1.Manifest, config v1.Descriptor) (v1.Descriptor, error) {
	m.Config.Digest, m.Config.Size = config.Digest, config.Size
	data, err := json.Marshal(m)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := l.PutBytes(ctx, data)
	manifest.MediaType = m.MediaType
	return manifest, err
}

// ConvertManifest gives an image's manifest in a format. The config stays as it
// is: docker and OCI read the same one.
func ConvertManifest(m *v1.Manifest, format Format) (*v1.Manifest, error) {
	converted, err := newManifest(m.Layers, format, m.Annotations)
	if err == nil {
		converted.Config.Digest, converted.Config.Size = m.Config.Digest, m.Config.Size
	}
	return converted, err
}

// newManifest makes a manifest whose config has a media type only.
func newManifest(layers []v1.Descriptor, format Format, annotations map[string]string) (*v1.Manifest, error) {
	m := &v1.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageManifest,
		Config:      v1.Descriptor{MediaType: v1.MediaTypeImageConfig},
		Layers:      make([]v1.Descriptor, len(layers)),
		Annotations: annotations,
	}
	convert := ociLayer
	if format == FormatDocker {
		m.MediaType, m.Config.MediaType, m.Annotations = MediaTypeDockerManifest, MediaTypeDockerConfig, nil
		convert = dockerLayer
	}
	for i, layer := range layers {
		mediaType, err := convert(layer.MediaType)
		if err != nil {
			return nil, err
		}
		m.Layers[i] = v1.Descriptor{MediaType: mediaType, Digest: layer.Digest, Size: layer.Size, URLs: layer.URLs}
	}
	return m, nil
}

// ociLayer gives OCI's media type of a layer.
func ociLayer(mediaType string) (string, error) {
	for docker, oci := range map[string]string{
		mediaTypeDockerLayer:        v1.MediaTypeImageLayer,
		mediaTypeDockerForeignLayer: mediaTypeOCIForeignLayer,
	} {
		if rest, ok := strings.CutPrefix(mediaType, docker); ok {
			return oci + strings.Replace(rest, ".", "+", 1), nil
		}
	}
	return mediaType, nil
}

// dockerLayer gives docker's media type of a layer. It has none for zstd.
func dockerLayer(mediaType string) (string, error) {
	for oci, docker := range map[string]string{
		v1.MediaTypeImageLayer:   mediaTypeDockerLayer,
		mediaTypeOCIForeignLayer: mediaTypeDockerForeignLayer,
	} {
		rest, ok := strings.CutPrefix(mediaType, oci)
		switch {
		case ok && rest == "+zstd":
			return "", fault.New("use --format oci, or --compression gzip",
				"docker's image format has no layers compressed by zstd")
		case ok:
			return docker + strings.Replace(rest, "+", ".", 1), nil
		}
	}
	return mediaType, nil
}
