package main

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// imageObject is an image as docker's API tells it, and in docker's order.
type imageObject struct {
	ID            string `json:"Id"`
	RepoTags      []string
	RepoDigests   []string
	Parent        string
	Comment       string
	Created       string `json:",omitempty"`
	DockerVersion string
	Author        string
	Config        layout.RunConfig `json:"-"` // docker's daemon writes it last
	Architecture  string
	Variant       string `json:",omitempty"`
	Os            string
	OsVersion     string `json:",omitempty"`
	Size          int64
	GraphDriver   imageObjectDriver
	RootFS        imageObjectRootFS
	Metadata      imageObjectMetadata
	Descriptor    v1.Descriptor
}

// imageObjectDriver names the storage driver that holds the unpacked image, or
// that was asked for; else nothing. docker's containerd store has no data either.
type imageObjectDriver struct {
	Data map[string]string
	Name string
}

type imageObjectRootFS struct {
	Type   string   `json:",omitempty"`
	Layers []string `json:",omitempty"`
}

// imageObjectMetadata has the zero time, as docker's of an image that was never
// tagged: the store doesn't keep when it was.
type imageObjectMetadata struct{ LastTagTime time.Time }

// newImageObject gathers what is known of an image.
func newImageObject(store *storage.Store, img layout.Image, driver string) (*imageObject, error) {
	l := store.Layout()
	config, err := l.Config(img)
	if err != nil {
		return nil, err
	}
	o := &imageObject{
		ID: img.ID.String(), RepoTags: []string{}, RepoDigests: []string{},
		Comment: comment(config), Author: config.Author, Config: config.Config,
		Architecture: config.Architecture, Variant: config.Variant, Os: config.OS, OsVersion: config.OSVersion,
		Size: img.Size, GraphDriver: imageObjectDriver{Name: driver},
		RootFS:     imageObjectRootFS{Type: config.RootFS.Type},
		Descriptor: plain(img.Target()),
	}
	if config.Created != nil {
		o.Created = config.Created.Format(time.RFC3339Nano)
	}
	for _, d := range config.RootFS.DiffIDs {
		o.RootFS.Layers = append(o.RootFS.Layers, d.String())
	}
	if name := unpackedBy(store, config.RootFS.DiffIDs); name != "" {
		o.GraphDriver.Name = name
	}
	if o.DockerVersion, err = dockerVersion(l, img.ID); err != nil {
		return nil, err
	}
	return o, o.name(l, img.ID)
}

// plain leaves the members that every descriptor has.
func plain(d v1.Descriptor) v1.Descriptor {
	return v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// comment is the image's, or what its last step says.
func comment(config *layout.ImageConfig) string {
	if last := len(config.History) - 1; config.Comment == "" && last >= 0 {
		return config.History[last].Comment
	}
	return config.Comment
}

// name adds the image's names: with tags, and by what registries know it here.
func (o *imageObject) name(l *layout.Layout, id digest.Digest) error {
	list, err := l.List()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(img layout.Image) bool { return img.ID != id })
	for _, summary := range layout.Summarize(list) {
		for _, r := range summary.Repositories {
			for _, tag := range r.Tags {
				o.RepoTags = append(o.RepoTags, r.Name+":"+tag)
			}
			for _, d := range r.Digests {
				o.RepoDigests = append(o.RepoDigests, r.Name+"@"+d.String())
			}
		}
	}
	return nil
}

// unpackedBy names the storage driver that has unpacked the layers, "" where none
// has.
func unpackedBy(store *storage.Store, diffIDs []digest.Digest) string {
	if len(diffIDs) == 0 {
		return ""
	}
	rec, err := store.Records().Get(identity.ChainID(diffIDs))
	if err == nil && rec.Alias != "" {
		rec, err = store.Records().Get(rec.Alias)
	}
	if err != nil || len(rec.Trees) == 0 {
		return ""
	}
	return string(snapshot.DriverOf(slices.Sorted(maps.Keys(rec.Trees))[0]))
}

// dockerVersion is what docker's classic builder has left of itself in a config.
func dockerVersion(l *layout.Layout, config digest.Digest) (string, error) {
	data, err := l.ReadBlob(config)
	if err != nil {
		return "", err
	}
	var by struct {
		DockerVersion string `json:"docker_version"`
	}
	err = json.Unmarshal(data, &by)
	return by.DockerVersion, err
}

// MarshalJSON writes the config last, its members sorted, and of those that docker
// always tells also the empty ones.
func (o *imageObject) MarshalJSON() ([]byte, error) {
	text, err := format.MarshalFields(o.Config)
	if err != nil {
		return nil, err
	}
	config := map[string]any{
		"Cmd": nil, "Entrypoint": nil, "Env": nil, "Labels": nil, "OnBuild": nil, "User": "", "Volumes": nil, "WorkingDir": "",
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	type members imageObject
	return format.MarshalFields(struct {
		*members
		Config map[string]any
	}{(*members)(o), config})
}
