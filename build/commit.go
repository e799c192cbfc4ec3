package build

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// CommitOptions say what image Commit makes.
type CommitOptions struct {
	// Base is the image that was changed, and Changed what of its files was.
	Base    layout.Image
	Changed layer.Source
	// Settings take the place of the base's; Changes are applied to them.
	Settings layout.RunConfig
	Changes  Changes
	Author   string
	Message  string
	// Name is the image's, or empty.
	Name string
}

// Commit makes an image of what was changed of another one, as a container has
// changed it: one more layer, in which stands what a RUN's would, or none where
// nothing is to stand in it. It gives the image's id. The base's blobs must be
// there, and nobody may remove them meanwhile.
func Commit(ctx context.Context, store *storage.Store, o CommitOptions) (digest.Digest, error) {
	l := store.Layout()
	config, err := l.Config(o.Base)
	if err != nil {
		return "", err
	}
	manifest, err := l.Manifest(o.Base)
	if err != nil {
		return "", err
	}
	cmd := strings.Join(o.Settings.Cmd, " ") // docker's words for what made the layer
	config = config.Clone()
	config.Config = o.Settings
	if err := o.Changes.Apply(config); err != nil {
		return "", err
	}
	packed, err := packChanged(ctx, store, o.Changed)
	if err != nil {
		return "", err
	}
	layers := slices.Clone(manifest.Layers)
	if packed.Entries > 0 {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, packed.DiffID)
		layers = append(layers, packed.Blob)
	}
	now := time.Now().UTC()
	config.Created, config.Author, config.Comment = &now, o.Author, o.Message
	config.History = append(config.History, v1.History{
		Created: &now, CreatedBy: cmd, Author: o.Author, Comment: o.Message, EmptyLayer: packed.Entries == 0,
	})
	written, id, err := layout.WriteImage(ctx, l, config, layers, layout.FormatOCI, nil)
	if err != nil {
		return "", err
	}
	var names []string
	if o.Name != "" {
		names = []string{o.Name}
	}
	return id, l.Commit(ctx, names, written, nil)
}

// packChanged puts a layer into the layout, unless nothing stands in it.
func packChanged(ctx context.Context, store *storage.Store, src layer.Source) (layer.Packed, error) {
	session, err := store.Session()
	if err != nil {
		return layer.Packed{}, err
	}
	w, err := store.Layout().NewBlobWriter(session.ID)
	if err != nil {
		return layer.Packed{}, err
	}
	packed, err := layer.Pack(ctx, src, w, layer.PackOptions{Compression: layer.Gzip})
	if err != nil || packed.Entries == 0 {
		return packed, errors.Join(err, w.Cancel())
	}
	packed.Blob.Annotations = map[string]string{layout.UncompressedSize: strconv.FormatInt(packed.TarSize, 10)}
	return packed, w.Commit(packed.Blob.Digest)
}
