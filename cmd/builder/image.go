package main

import (
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// splitName parts a familiar name into repository and tag, with docker's word
// for what is missing.
func splitName(name string) (repository, tag string) {
	if name == "" {
		return none, none
	}
	if repository, _, digested := strings.Cut(name, "@"); digested {
		return repository, none
	}
	colon := strings.LastIndexByte(name, ':')
	if colon < strings.LastIndexByte(name, '/') || colon < 0 {
		return name, none
	}
	return name[:colon], name[colon+1:]
}

// allTags gives what the tags of a repository name here.
func allTags(store *storage.Store, repository reference.Named) ([]layout.Image, error) {
	all, err := store.Layout().List()
	return slices.DeleteFunc(all, func(img layout.Image) bool {
		return !strings.HasPrefix(img.Name, repository.Name()+":")
	}), err
}
