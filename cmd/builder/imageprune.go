package main

import (
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// danglingIDs gives those of images that have no tag.
func danglingIDs(store *storage.Store, images []layout.Image) ([]string, error) {
	set, err := filter.Parse([]string{"dangling=true"})
	if err != nil {
		return nil, err
	}
	images, err = store.Layout().Select(images, set)
	var refs []string
	for _, image := range layout.Summarize(images) {
		refs = append(refs, image.ID.String())
	}
	return refs, err
}
