package transport

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layout"
)

// commit names the images, and gives them once for each name. Where one can't be
// named, those before it are.
func (a *archive) commit(images []loaded) ([]Loaded, error) {
	if err := checkNumber(images); err != nil {
		return nil, err
	}
	if a.options.Passing {
		return passing(images), nil
	}
	before, _, err := a.known()
	if err != nil {
		return nil, err
	}
	done := 0
	for _, image := range images {
		if err = a.layout.Commit(a.ctx, image.names, image.manifest, image.index); err != nil {
			break
		}
		done++
	}
	byName, byID, listErr := a.known()
	var list []Loaded
	for _, image := range images[:done] {
		for _, name := range image.names {
			one := Loaded{Image: byName[name]}
			if old := before[name].ID; old != one.ID {
				one.Before = old
			}
			list = append(list, one)
		}
		if len(image.names) == 0 {
			one := byID[image.id]
			one.Name = ""
			list = append(list, Loaded{Image: one})
		}
	}
	return list, errors.Join(err, listErr)
}

// passing gives images that are named nowhere.
func passing(images []loaded) []Loaded {
	list := make([]Loaded, len(images))
	for i, image := range images {
		list[i].Image = layout.Image{ID: image.id, Manifest: image.manifest, Index: image.index}
	}
	return list
}

// checkNumber bounds what is to be named: each name takes a look at all others.
func checkNumber(images []loaded) error {
	tags := 0
	for _, image := range images {
		tags += len(image.names)
	}
	if len(images) > mostImages || tags > mostTags {
		return fmt.Errorf("the archive has %d images with %d names: at most %d with %d are taken", len(images), tags, mostImages, mostTags)
	}
	return nil
}

// known gives the images that are there.
func (a *archive) known() (byName map[string]layout.Image, byID map[digest.Digest]layout.Image, err error) {
	images, err := a.layout.List()
	byName, byID = map[string]layout.Image{}, map[digest.Digest]layout.Image{}
	for _, img := range images {
		byID[img.ID] = img
		if img.Name != "" {
			byName[img.Name] = img
		}
	}
	return byName, byID, err
}
