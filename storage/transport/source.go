package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// A Source is an image that lies elsewhere than in the store, as the tools of
// the containers project write it:
//
//	docker://NAME                in a registry
//	oci:DIR[:REF]                in an OCI layout; also DIR@DIGEST
//	oci-archive:FILE[:REF]       in an archive
//	docker-archive:FILE[:REF]
//	dir:DIR                      as files in a directory, by skopeo
//	containers-storage:NAME      in the storage of podman and buildah
//
// REF is the name that the image has there, its beginning may be left out: v1
// is the one image that is called anything:v1. @N is the image's place, from 0.
type Source struct {
	transport string
	place     string
}

// Transports.
const (
	registryTransport = "docker"
	layoutTransport   = "oci"
	dirTransport      = "dir"
	storageTransport  = "containers-storage"
	daemonTransport   = "docker-daemon"
)

// ParseSource reads a reference. What begins as none of them isn't one: then it
// is an image's name. One whose transport is a name as well (oci:latest) is
// written in full to mean that: docker.io/library/oci:latest.
func ParseSource(ref string) (Source, bool) {
	scheme, rest, found := strings.Cut(ref, ":")
	if !found || rest == "" {
		return Source{}, false
	}
	switch scheme {
	case registryTransport:
		name, slashes := strings.CutPrefix(rest, "//")
		return Source{scheme, name}, slashes
	case layoutTransport, dirTransport, OCIArchive, DockerArchive, storageTransport, daemonTransport:
		return Source{scheme, rest}, true
	}
	return Source{}, false
}

// String gives the reference back.
func (s Source) String() string {
	if s.transport == registryTransport {
		return dockerScheme + s.place
	}
	return s.transport + ":" + s.place
}

// Registry gives the name of an image in a registry.
func (s Source) Registry() (name string, ok bool) {
	return s.place, s.transport == registryTransport
}

// Bring takes up an image from elsewhere than a registry, under the names that
// it has there; of an archive without REF all images. It gives them once for each
// name, or once without.
//
// The name is REF, or what a descriptor or docker's manifest.json says; a
// directory of dir has none.
func Bring(ctx context.Context, from Source, o Options) ([]layout.Image, error) {
	images, err := o.bring(ctx, from, true)
	return images, atSource(from, err)
}

// Adopt takes up one image from elsewhere than a registry, and gives it no name:
// what has its name here keeps it. With Passing nothing but this command knows of it.
func Adopt(ctx context.Context, from Source, o Options) (layout.Image, error) {
	images, err := o.bring(ctx, from, false)
	if err != nil {
		return layout.Image{}, atSource(from, err)
	}
	return images[0], nil
}

func atSource(from Source, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", from, err)
}

func (o Options) bring(ctx context.Context, from Source, named bool) ([]layout.Image, error) {
	switch from.transport {
	case layoutTransport:
		return o.fromLayout(ctx, from, named)
	case OCIArchive, DockerArchive:
		return o.fromArchive(ctx, from, named)
	case dirTransport:
		return o.fromDirectory(ctx, from.place)
	case storageTransport:
		return o.fromStorage(ctx, from.place, named)
	case daemonTransport:
		return nil, fault.New("docker save "+from.place+" | builder load", "builder speaks with no daemon")
	}
	return nil, errors.New("an image of a registry is pulled")
}

// settle makes an image part of the store, under its names or none.
func (o Options) settle(ctx context.Context, image loaded, id digest.Digest, named bool) ([]layout.Image, error) {
	if !named {
		image.names = nil
	}
	if o.Passing {
		return []layout.Image{{ID: id, Manifest: image.manifest, Index: image.index}}, o.layout().NotePassing(image.manifest, image.index)
	}
	if err := o.layout().Commit(ctx, image.names, image.manifest, image.index); err != nil {
		return nil, err
	}
	// The same image may be here already, with its layers packed in another way,
	// or with others, by a manifest that lies: it isn't taken in place of this one.
	one := layout.Image{ID: id, Manifest: image.manifest, Index: image.index}
	if len(image.names) == 0 {
		return []layout.Image{one}, nil
	}
	var images []layout.Image
	for _, name := range image.names {
		one.Name = name
		images = append(images, one)
	}
	return images, nil
}

// splitPlace splits PATH[:REF] behind the longest path that exists, else at the
// first colon; REF may have colons as well.
func splitPlace(place string) (path, ref string) {
	for at := len(place); at > 0; at = strings.LastIndexByte(place[:at], ':') {
		if _, err := os.Stat(place[:at]); err == nil {
			return place[:at], strings.TrimPrefix(place[at:], ":")
		}
	}
	path, ref, _ = strings.Cut(place, ":")
	return path, ref
}

// fromArchive takes up the image of an archive that ref means, or all.
func (o Options) fromArchive(ctx context.Context, from Source, named bool) ([]layout.Image, error) {
	path, ref := splitPlace(from.place)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	images, err := load(ctx, file, o, func(format string, all []loaded) ([]loaded, error) {
		if format != from.transport && from.transport == DockerArchive {
			return nil, fault.New("call it oci-archive:"+from.place, "the archive has no manifest.json of docker's")
		}
		chosen, err := chosenOf(all, ref, named)
		for i := range chosen {
			chosen[i].names = slices.DeleteFunc(chosen[i].names, func(name string) bool {
				return !named || ref != "" && ref[0] != '@' && !meansName(ref, name)
			})
		}
		return chosen, err
	})
	if err == nil && len(images) == 0 {
		err = fmt.Errorf("%w: the archive is empty", layout.ErrUnknown)
	}
	brought := make([]layout.Image, len(images))
	for i, img := range images {
		brought[i] = img.Image
	}
	return brought, err
}

// chosenOf gives those of an archive's images that ref means.
func chosenOf(all []loaded, ref string, several bool) ([]loaded, error) {
	if ref == "" && several {
		return all, nil
	}
	held := make([]heldImage, len(all))
	for i, image := range all {
		held[i] = heldImage{names: image.names, digest: image.manifest.Digest}
		for _, name := range image.names {
			held[i].shown = append(held[i].shown, layout.Familiar(name))
		}
	}
	at, err := choose(held, ref)
	if err != nil {
		return nil, err
	}
	return all[at : at+1], nil
}

// heldImage is an image of a layout or an archive: its names, canonical and as
// they stand there, and the digest that it has there.
type heldImage struct {
	names, shown []string
	digest       digest.Digest
}

// choose gives the place of the image that ref means, which is empty, NAME, @N or
// @DIGEST: without it the only one, or the one that is called latest.
func choose(held []heldImage, ref string) (int, error) {
	if ref == "" && len(held) == 1 {
		return 0, nil
	}
	if place, ok := strings.CutPrefix(ref, "@"); ok {
		if at, err := strconv.Atoi(place); err == nil && at >= 0 && at < len(held) {
			return at, nil
		}
	}
	wanted := cmp.Or(ref, "latest")
	var known []string
	for at, image := range held {
		if wanted == "@"+image.digest.String() || slices.ContainsFunc(image.names, func(name string) bool { return meansName(wanted, name) }) {
			return at, nil
		}
		if known = append(known, image.shown...); len(image.shown) == 0 {
			known = append(known, "@"+image.digest.String())
		}
	}
	return 0, fault.New("it holds "+listed(known), "%w: %s", layout.ErrUnknown, wanted)
}

// meansName says that ref, as it stands behind a path, is name, which is
// canonical: the whole of it, or its tag.
func meansName(ref, name string) bool {
	full, err := layout.ParseName(ref)
	return err == nil && full == name || strings.HasSuffix(name, ":"+ref)
}

// listed is a list for one line.
func listed(names []string) string {
	const most = 20
	if len(names) == 0 {
		return "no image"
	}
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
