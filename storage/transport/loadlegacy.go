package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// Docker before 1.10 had an image for each layer. An archive has a directory for
// each, called by its id, with the layer and what is known of it; the file
// repositories names some of them.
const (
	repositoriesFile = "repositories"
	legacyConfig     = "json"
	legacyLayer      = "layer.tar"
)

// legacyImage is what docker before 1.10 kept of an image.
type legacyImage struct {
	Parent          string            `json:"parent"`
	Created         *time.Time        `json:"created"`
	Author          string            `json:"author"`
	Comment         string            `json:"comment"`
	Architecture    string            `json:"architecture"`
	OS              string            `json:"os"`
	Config          *layout.RunConfig `json:"config"`
	ContainerConfig struct {
		Cmd []string
	} `json:"container_config"`
}

func (a *archive) isLegacy() bool {
	return a.meta[repositoriesFile] != nil || len(a.legacyIDs()) > 0
}

// legacyIDs gives the images that the archive has directories of.
func (a *archive) legacyIDs() []string {
	const idLen = 64
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		if id, ok := strings.CutSuffix(name, "/"+legacyConfig); ok && len(id) == idLen {
			ids = append(ids, id)
		}
	}
	return ids
}

// legacyImages gives the images that have names, or where none has one, those
// that no other stands on.
func (a *archive) legacyImages() ([]loaded, error) {
	names, err := a.legacyNames()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if names, err = a.legacyTops(); err != nil {
			return nil, err
		}
	}
	var images []loaded
	for _, id := range slices.Sorted(maps.Keys(names)) {
		image, err := a.legacyImage(id)
		if isOtherPlatform(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		image.add(names[id])
		images = append(images, image)
	}
	if len(images) == 0 {
		return nil, notArchive(errors.New("it has no image that was asked for"))
	}
	return images, nil
}

func isOtherPlatform(err error) bool { return errors.Is(err, layout.ErrPlatform) }

// legacyNames gives the names of each image that has some.
func (a *archive) legacyNames() (map[string][]string, error) {
	names := map[string][]string{}
	data, ok := a.meta[repositoriesFile]
	if !ok {
		return names, nil
	}
	var repositories map[string]map[string]string
	if err := parse(repositoriesFile, data, &repositories); err != nil {
		return nil, err
	}
	for repository, tags := range repositories {
		for tag, id := range tags {
			name, err := layout.ParseName(repository + ":" + tag)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", repositoriesFile, err)
			}
			names[id] = append(names[id], name)
		}
	}
	for _, list := range names {
		slices.Sort(list)
	}
	return names, nil
}

func (a *archive) legacyTops() (map[string][]string, error) {
	tops := map[string][]string{}
	for _, id := range a.legacyIDs() {
		tops[id] = nil
	}
	for _, id := range a.legacyIDs() {
		image, err := a.legacyConfig(id)
		if err != nil {
			return nil, err
		}
		delete(tops, image.Parent)
	}
	return tops, nil
}

func (a *archive) legacyConfig(id string) (*legacyImage, error) {
	name := path.Join(id, legacyConfig)
	d, err := a.find(name)
	if err != nil {
		return nil, err
	}
	data, err := a.layout.ReadBlob(d.Digest)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	var image legacyImage
	if err := json.Unmarshal(data, &image); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return &image, nil
}

// legacyImage makes config and manifest of an image and those that it stands on.
func (a *archive) legacyImage(id string) (loaded, error) {
	var config *layout.ImageConfig
	var layers []v1.Descriptor
	for at := id; at != ""; {
		if len(layers) == mostLayers {
			return loaded{}, fmt.Errorf("image %s has more than %d layers, or stands on itself", id, mostLayers)
		}
		image, err := a.legacyConfig(at)
		if err != nil {
			return loaded{}, err
		}
		if config == nil {
			config = image.config()
		}
		blob, err := a.legacyLayer(path.Join(at, legacyLayer))
		if err != nil {
			return loaded{}, err
		}
		layers = append(layers, blob)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, blob.Digest)
		config.History = append(config.History, image.history())
		at = image.Parent
	}
	slices.Reverse(layers)
	slices.Reverse(config.RootFS.DiffIDs)
	slices.Reverse(config.History)
	if err := a.suits(config); err != nil {
		return loaded{}, err
	}
	manifest, configID, err := layout.WriteImage(a.ctx, a.layout, config, layers, layout.FormatOCI, nil)
	a.added = append(a.added, manifest.Digest, configID)
	return loaded{id: configID, manifest: manifest}, err
}

// legacyLayer gives a layer, whose digest is its diffID: docker has always
// written them plain.
func (a *archive) legacyLayer(name string) (v1.Descriptor, error) {
	d, err := a.find(name)
	if err != nil {
		return d, err
	}
	compression, err := a.compression(d)
	if err == nil && compression != layer.None {
		err = fmt.Errorf("it is compressed by %s, and no config tells what it should be", compression)
	}
	if err != nil {
		return d, fmt.Errorf("%q: %w", name, err)
	}
	d.MediaType = v1.MediaTypeImageLayer
	return d, nil
}

func (i *legacyImage) config() *layout.ImageConfig {
	here := platform.Here()
	c := &layout.ImageConfig{
		Created: i.Created, Author: i.Author, OS: i.OS, Architecture: i.Architecture,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}},
	}
	if i.Config != nil {
		c.Config = *i.Config
	}
	if c.OS == "" {
		c.OS = here.OS
	}
	if c.Architecture == "" {
		c.Architecture = here.Architecture
	}
	return c
}

func (i *legacyImage) history() v1.History {
	return v1.History{
		Created: i.Created, Author: i.Author, Comment: i.Comment,
		CreatedBy: strings.Join(i.ContainerConfig.Cmd, " "),
	}
}
