package transport

import (
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// noName is what docker has written for an image without one.
const noName = "<none>:<none>"

// dockerImages reads docker's manifest.json. Of images that the OCI layout
// beside it doesn't tell of it makes the manifests, which such an archive doesn't
// have.
func (a *archive) dockerImages(data []byte, images []loaded) ([]loaded, error) {
	var list []dockerImage
	if err := parse(dockerManifestFile, data, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notArchive(fmt.Errorf("%s names no image", dockerManifestFile))
	}
	var other error // a platform that wasn't asked for
	for _, d := range list {
		image, err := a.dockerImage(d, images)
		if a.options.Platform != "" && isOtherPlatform(err) {
			other = err
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dockerManifestFile, err)
		}
		images = merge(images, image)
	}
	if len(images) == 0 {
		return nil, fault.New("leave out --platform", "%w", other)
	}
	return images, nil
}

// merge adds an image to those of the OCI layout, of which it may be one. A
// multi-platform image has its name there, and the config of another platform
// here.
func merge(images []loaded, image loaded) []loaded {
	at := slices.IndexFunc(images, func(i loaded) bool { return i.id == image.id })
	if at >= 0 {
		images[at].add(image.names)
		return images
	}
	isNamed := func(name string) bool {
		return slices.ContainsFunc(images, func(i loaded) bool { return i.index != nil && slices.Contains(i.names, name) })
	}
	if len(image.names) > 0 && !slices.ContainsFunc(image.names, func(n string) bool { return !isNamed(n) }) {
		return images
	}
	return append(images, image)
}

// dockerImage gives an image of manifest.json, without a manifest where it is
// one of known.
func (a *archive) dockerImage(d dockerImage, known []loaded) (loaded, error) {
	image := loaded{}
	if len(d.RepoTags) > mostTags {
		return image, fmt.Errorf("an image has %d names: at most %d are taken", len(d.RepoTags), mostTags)
	}
	for _, tag := range d.RepoTags {
		if tag == noName {
			continue
		}
		name, err := layout.ParseName(tag)
		if err != nil {
			return image, err
		}
		image.add([]string{name})
	}
	blob, err := a.find(d.Config)
	if err != nil {
		return image, err
	}
	image.id = blob.Digest
	config, err := a.config(blob)
	if err != nil {
		return image, fmt.Errorf("%q: %w", d.Config, err)
	}
	if err := a.suits(config); err != nil {
		return image, err
	}
	if slices.ContainsFunc(known, func(i loaded) bool { return i.id == image.id }) {
		return image, nil
	}
	image.manifest, err = a.dockerManifest(blob, config, d.Layers)
	return image, err
}

func (a *archive) dockerManifest(blob v1.Descriptor, config *layout.ImageConfig, names []string) (v1.Descriptor, error) {
	if len(names) > mostLayers {
		return v1.Descriptor{}, fmt.Errorf("the image has %d layers: at most %d are taken", len(names), mostLayers)
	}
	layers := make([]v1.Descriptor, len(names))
	for i, name := range names {
		d, err := a.find(name)
		if err != nil {
			return v1.Descriptor{}, err
		}
		compression, err := a.compression(d)
		if err != nil {
			return v1.Descriptor{}, fmt.Errorf("%q: %w", name, err)
		}
		d.MediaType = compression.MediaType()
		layers[i] = d
	}
	if err := a.whole(config, layers); err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := a.layout.PutManifest(a.ctx, blob, layers)
	a.added = append(a.added, manifest.Digest)
	return manifest, err
}
