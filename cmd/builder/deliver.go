package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// deliver gives the image away. Its blobs are in the store, which is open.
func (outs *outputs) deliver(c *cli.Context, store *storage.Store, r build.Result, out io.Writer) error {
	if r.ID == "" {
		if outs.cacheOnly {
			return outs.writeMetadata(r)
		}
		return nil
	}
	img := layout.Image{ID: r.ID, Manifest: r.Manifest}
	for _, a := range outs.archives {
		if err := a.write(c, store, img, outs); err != nil {
			return err
		}
	}
	if outs.push {
		for _, name := range outs.names {
			if outs.byDigest {
				name = mustParse(name).Name() + "@" + img.Manifest.Digest.String()
			}
			if err := pushImage(c, store, img, name, outs.insecure, out); err != nil {
				return err
			}
		}
	}
	return outs.writeMetadata(r)
}

// asNamed gives an image under each of its names, or once where it has none.
func asNamed(img layout.Image, names []string) []layout.Image {
	images := make([]layout.Image, max(1, len(names)))
	for i := range images {
		images[i] = img
		if i < len(names) {
			images[i].Name = names[i]
		}
	}
	return images
}

func (a archiveOutput) write(c *cli.Context, store *storage.Store, img layout.Image, outs *outputs) error {
	o, err := transportOptions(c, store)
	if err != nil {
		return err
	}
	names := outs.names
	o.Annotations = outs.descriptor
	if a.isDir {
		for _, i := range asNamed(img, names) {
			dest := "oci:" + a.dest
			if i.Name != "" {
				dest += ":" + layout.Familiar(i.Name)
			}
			if _, err := transport.Push(c.Context, i, dest, o); err != nil {
				return err
			}
		}
		return nil
	}
	save := func(w io.Writer) error { return transport.Save(c.Context, asNamed(img, names), w, a.format, o) }
	if a.dest == "-" {
		return save(c.App.Writer)
	}
	return writeFile(a.dest, save)
}

// metadata is what BuildKit tells of a build.
type metadata struct {
	Config     digest.Digest  `json:"containerimage.config.digest,omitempty"`
	Descriptor *v1.Descriptor `json:"containerimage.descriptor,omitempty"`
	Digest     digest.Digest  `json:"containerimage.digest,omitempty"`
	Name       string         `json:"image.name,omitempty"`
}

// annotationConfig is BuildKit's, of a descriptor that it tells of.
const annotationConfig = "config.digest"

// writeMetadata writes an empty object where there is no image.
func (outs *outputs) writeMetadata(r build.Result) error {
	if outs.metadata == "" {
		return nil
	}
	var told metadata
	if r.ID != "" {
		annotations := maps.Clone(outs.descriptor)
		annotations[annotationConfig] = r.ID.String()
		told = metadata{
			Config: r.ID, Digest: r.Manifest.Digest, Name: strings.Join(outs.names, ","),
			Descriptor: &v1.Descriptor{
				MediaType: r.Manifest.MediaType, Digest: r.Manifest.Digest, Size: r.Manifest.Size, Annotations: annotations,
			},
		}
	}
	data, err := json.MarshalIndent(told, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(outs.metadata, append(data, '\n'), 0o644)
}

// dropOld removes what an earlier build has written: where this one fails, none
// must be taken for its own.
func dropOld(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
