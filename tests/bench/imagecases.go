package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageCases are about images that are there, and about moving them. Their peers
// do the same between the same registry and the same file system.
var imageCases = []benchCase{
	{"images, with 10,000 images", "ms", "120 ms", onManyImages(func(int) []string { return []string{"images"} })},
	{"tag, with 10,000 images", "ms", "60 ms", onManyImages(func(i int) []string {
		return []string{"tag", "image:1", fmt.Sprint("tagged:", i)}
	})},
	{"rmi, with 10,000 images", "ms", "60 ms", onManyImages(func(i int) []string { return []string{"rmi", fmt.Sprint("image:", 100+i)} })},
	{"pull of 5 layers, 600 MB", "s", "1.1 times skopeo", pullAlone},
	{"pull of them, and the first run", "s", "0.7 times either", pullAndRun},
	{"push of them, as just built", "s", "", pushBuilt},
	{"save | load of 1 GiB", "s", "", saveAndLoad},
}

const severalImages = 10000

// onManyImages times a command, which may depend on the run's number, on a store
// of ten thousand images.
func onManyImages(command func(i int) []string) func(*rig, *figure) error {
	return func(r *rig, f *figure) error {
		if r.many == nil {
			s, err := r.newStore(builderAlone)
			if err != nil {
				return err
			}
			if err := fillStore(filepath.Join(s.dir, "root/images"), severalImages); err != nil {
				return err
			}
			// The first change takes up what others have written.
			if err := s.run("tag", "busybox", "first"); err != nil {
				return err
			}
			r.many = s
		}
		for i := range 4 * r.runs {
			took, err := timed(r.many.command(command(i)...))
			if err != nil {
				return err
			}
			f.add(builderAlone, took)
		}
		return nil
	}
}

// fillStore writes images into an OCI layout that has one, as any tool may: each
// with a config and a manifest of its own, over the layers of the first.
func fillStore(dir string, count int) error {
	l := ociLayout{dir}
	var index v1.Index
	if err := l.read(v1.ImageIndexFile, &index); err != nil {
		return err
	}
	var manifest v1.Manifest
	if err := l.read(l.blob(index.Manifests[0]), &manifest); err != nil {
		return err
	}
	var config map[string]any
	if err := l.read(l.blob(manifest.Config), &config); err != nil {
		return err
	}
	for i := range count {
		config["author"] = fmt.Sprint("number ", i)
		d, err := l.write(v1.MediaTypeImageConfig, config)
		if err != nil {
			return err
		}
		manifest.Config = d
		if d, err = l.write(v1.MediaTypeImageManifest, manifest); err != nil {
			return err
		}
		d.Annotations = map[string]string{v1.AnnotationRefName: fmt.Sprint("image:", i)}
		index.Manifests = append(index.Manifests, d)
	}
	index.Versioned = specs.Versioned{SchemaVersion: 2}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, v1.ImageIndexFile), text, 0o644)
}

// ociLayout is the directory of an OCI image layout.
type ociLayout struct{ dir string }

func (l ociLayout) blob(d v1.Descriptor) string { return "blobs/sha256/" + d.Digest.Encoded() }

func (l ociLayout) read(name string, v any) error {
	text, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func (l ociLayout) write(mediaType string, v any) (v1.Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: mediaType, Size: int64(len(text)), Digest: digest.FromBytes(text)}
	return d, os.WriteFile(filepath.Join(l.dir, l.blob(d)), text, 0o644)
}
