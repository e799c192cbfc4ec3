package main

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage/layout"
)

// imageNames tells what the images of containers are called.
type imageNames struct {
	layout *layout.Layout
	named  map[string]digest.Digest // canonical names
	sizes  map[digest.Digest]int64
	means  map[string]digest.Digest // what containers call their images
}

// nameImages reads the names of images, which are all that l has.
func nameImages(l *layout.Layout, images []layout.Image) *imageNames {
	n := &imageNames{layout: l, named: map[string]digest.Digest{}, sizes: map[digest.Digest]int64{}, means: map[string]digest.Digest{}}
	for _, img := range images {
		n.named[img.Name] = img.ID
		n.sizes[img.ID] = img.Size
	}
	return n
}

// of is the name by which a container was made, while that means its image;
// then the image's id.
func (n *imageNames) of(c container.Config) string {
	isID := c.Image != "" && strings.HasPrefix(strings.TrimPrefix(c.ImageID, "sha256:"), strings.TrimPrefix(c.Image, "sha256:"))
	if c.Image == "" && c.ImageID != "" || c.ImageID != "" && !isID && n.meaning(c.Image).String() != c.ImageID {
		return c.ImageID
	}
	return c.Image
}

// meaning gives the id of the image that ref means now, if there is one.
func (n *imageNames) meaning(ref string) digest.Digest {
	if id, known := n.means[ref]; known {
		return id
	}
	var id digest.Digest
	if name, err := layout.ParseName(ref); err == nil {
		id = n.named[name]
	}
	if id == "" {
		if img, err := n.layout.Find(ref); err == nil {
			id = img.ID
		}
	}
	n.means[ref] = id
	return id
}
