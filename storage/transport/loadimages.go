package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

const (
	// mostObjects is how many JSON objects are taken of a file: each takes a
	// hundred times its two bytes in memory.
	mostObjects = 50_000
	// mostLinks lead from a name in an archive to its file.
	mostLinks = 40
)

// loaded is an image to be named.
type loaded struct {
	names    []string // canonical
	id       digest.Digest
	manifest v1.Descriptor
	index    *v1.Descriptor
}

// images finds the archive's images: by its OCI layout, by docker's
// manifest.json, or by both. Where they tell of the same image, the layout's
// manifest is taken: it is the one that was pushed or pulled. But docker 25 wrote
// manifests without layers, and none at all for an image without a name.
func (a *archive) images() ([]loaded, error) {
	docker, isDocker := a.meta[dockerManifestFile]
	var images []loaded
	if index, ok := a.meta[v1.ImageIndexFile]; ok && a.meta[v1.ImageLayoutFile] != nil {
		var err error
		if images, err = a.ociImages(index, isDocker); err != nil || !isDocker {
			return images, err
		}
	}
	switch {
	case isDocker:
		return a.dockerImages(docker, images)
	case a.isLegacy():
		return a.legacyImages()
	case a.hasBlobs():
		return nil, cutShort(a.last, errors.New("index.json and manifest.json are missing"))
	}
	return nil, notArchive(errors.New("it has neither an index.json nor a manifest.json"))
}

// hasBlobs tells whether there was the beginning of an OCI layout. A tar that
// ends between two files looks whole.
func (a *archive) hasBlobs() bool {
	for name := range a.files {
		if strings.HasPrefix(name, blobsDir) {
			return true
		}
	}
	return false
}

// parse reads a JSON file of the archive.
func parse(name string, data []byte, into any) error {
	if n := bytes.Count(data, []byte("{")); n > mostObjects {
		return fmt.Errorf("%s tells of %d things: at most %d are read", name, n, mostObjects)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return notArchive(fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

// ociImages reads the index.json of an OCI layout. Where manifest.json is there
// too, what isn't whole is left to that.
func (a *archive) ociImages(data []byte, isDocker bool) ([]loaded, error) {
	var index v1.Index
	if err := parse(v1.ImageIndexFile, data, &index); err != nil {
		return nil, err
	}
	var images []loaded
	for _, d := range index.Manifests {
		image, err := a.ociImage(d)
		if err != nil && isDocker {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s names %s: %w", v1.ImageIndexFile, printableDigest(d.Digest), err)
		}
		if at := slices.IndexFunc(images, func(i loaded) bool { return i.manifest.Digest == image.manifest.Digest }); at >= 0 {
			images[at].add(image.names)
			continue
		}
		images = append(images, image)
	}
	if len(images) == 0 && !isDocker {
		return nil, notArchive(errors.New("index.json names no image"))
	}
	return images, nil
}

func printableDigest(d digest.Digest) string {
	if d == "" {
		return "nothing"
	}
	return d.String()
}

func (a *archive) ociImage(d v1.Descriptor) (loaded, error) {
	want, err := platform.Parse(a.options.Platform)
	if err != nil {
		return loaded{}, err
	}
	resolve := a.layout.ResolveAny
	if a.options.Platform != "" {
		resolve = a.layout.Resolve
	}
	image := loaded{}
	if image.manifest, image.index, err = resolve(d, want); err != nil {
		return image, err
	}
	m, err := a.manifest(image.manifest)
	if err != nil {
		return image, err
	}
	image.id = m.Config.Digest
	if name, ok := nameOf(d); ok {
		image.names = []string{name}
	}
	config, err := a.config(m.Config)
	if err != nil {
		return image, err
	}
	if err := a.suits(config); err != nil {
		return image, err
	}
	return image, a.whole(config, m.Layers)
}

func (a *archive) manifest(d v1.Descriptor) (*v1.Manifest, error) {
	data, err := a.layout.ReadBlob(d.Digest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	var m v1.Manifest
	if err := parse("manifest", data, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// config reads an image's config, which is in the layout or isn't.
func (a *archive) config(d v1.Descriptor) (*layout.ImageConfig, error) {
	if a.layout.HasBlob(d.Digest, d.Size) && d.Size > largestMeta {
		return nil, fmt.Errorf("config %s has %d bytes: at most %d are read", d.Digest, d.Size, largestMeta)
	}
	data, err := a.layout.ReadBlob(d.Digest)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	config, err := layout.ParseConfig(data)
	if err == nil && config.OS == "" && len(config.RootFS.DiffIDs) == 0 {
		err = fmt.Errorf("%w: it names no root file system", layout.ErrInvalid)
	}
	return config, err
}

// suits is an error where another platform's images were asked for.
func (a *archive) suits(config *layout.ImageConfig) error {
	if a.options.Platform == "" {
		return nil
	}
	want, err := platform.Parse(a.options.Platform)
	if err != nil {
		return err
	}
	if has := config.Platform(); !platform.Serves(has, want) {
		return fmt.Errorf("%w: it is for %s, not for %s", layout.ErrPlatform, platform.Name(has), platform.Name(want))
	}
	return nil
}

// whole looks whether all layers are there, as many as the config tells of. Of
// one that isn't compressed the config has the digest; the others are checked
// when they are unpacked.
func (a *archive) whole(config *layout.ImageConfig, layers []v1.Descriptor) error {
	diffIDs := config.RootFS.DiffIDs
	if len(layers) > mostLayers {
		return fmt.Errorf("the image has %d layers: at most %d are taken", len(layers), mostLayers)
	}
	if len(layers) != len(diffIDs) {
		return fmt.Errorf("the config tells of %d layers, the manifest of %d", len(diffIDs), len(layers))
	}
	for i, d := range layers {
		compression, err := a.compression(d)
		if errors.Is(err, layout.ErrAbsent) {
			return fmt.Errorf("layer %s is missing, or doesn't have the %d bytes that the manifest tells", d.Digest, d.Size)
		}
		if err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		if compression == layer.None && d.Digest != diffIDs[i] {
			return fmt.Errorf("layer %s doesn't have the digest %s that the config tells", d.Digest, diffIDs[i])
		}
	}
	return nil
}

// compression tells how a layer is compressed.
func (a *archive) compression(d v1.Descriptor) (layer.Compression, error) {
	f, err := a.layout.OpenBlob(d)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, layer.HeadSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	switch c := layer.Compression(layer.Compressor(head[:n])); c {
	case layer.Gzip, layer.Zstd, layer.None:
		return c, nil
	default:
		return "", fault.New("use gzip or zstd, or none", "it is compressed by %s, which no image format has", c)
	}
}

// nameOf gives the name of an image in an archive's index.json: containerd's
// annotation, which docker and buildkit write, or the standard one.
func nameOf(d v1.Descriptor) (string, bool) {
	for _, key := range []string{annotationFullName, v1.AnnotationRefName} {
		if name, err := layout.ParseName(d.Annotations[key]); err == nil {
			return name, true
		}
	}
	return "", false
}

// add adds names that the image doesn't have.
func (i *loaded) add(names []string) {
	for _, name := range names {
		if !slices.Contains(i.names, name) {
			i.names = append(i.names, name)
		}
	}
}

// find gives the blob that a file of the archive has become. Old archives link
// layers to one another.
func (a *archive) find(name string) (v1.Descriptor, error) {
	at := path.Clean(name)
	for range mostLinks {
		if d, ok := a.files[at]; ok {
			return d, nil
		}
		next, ok := a.links[at]
		switch {
		case !ok && at == path.Clean(name):
			return v1.Descriptor{}, fmt.Errorf("%q is missing", name)
		case !ok:
			return v1.Descriptor{}, fmt.Errorf("%q is missing, which is where %q leads", at, name)
		case next.to == "":
			return v1.Descriptor{}, fmt.Errorf("%q is a link to %q, which leads out of the archive", at, next.written)
		}
		at = next.to
	}
	return v1.Descriptor{}, fmt.Errorf("%q is a link that leads through more than %d others", name, mostLinks)
}
