package layout

import (
	"errors"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/platform"
)

// ErrPlatform says that an image is there, but for another platform than the
// one that was asked for.
var ErrPlatform = errors.New("the image is for another platform")

// FindFor gives the image that ref means as it is for a platform: what has the
// name, or what CommitBase has kept, or another image of the name's multi-platform
// index, if that is here. Where there is none, the error is ErrPlatform, and the
// image the one that has the name.
func (l *Layout) FindFor(ref string, want v1.Platform) (Image, error) {
	ix, err := l.read()
	if err != nil {
		return Image{}, err
	}
	l.adoptAll(ix)
	named, _, err := ix.find(ref)
	var best v1.Descriptor
	if err == nil {
		suits := false
		if best, suits, err = l.forPlatform(named.image(), want); err != nil || suits {
			return named.image(), err
		}
	}
	if name, nameErr := ParseName(ref); nameErr == nil {
		if kept := ix.first(func(e *entry) bool { return e.base == baseOf(name, want) && e.id != "" }); kept != nil {
			return kept.image(), nil
		}
	}
	if err != nil {
		return l.findBeyond(ref, err)
	}
	if sibling, ok := l.sibling(named.image(), best); ok {
		return sibling, nil
	}
	return named.image(), fmt.Errorf("%w: %s", ErrPlatform, ref)
}

// forPlatform says whether an image suits a platform: if it serves it and, where
// it is of an index, is the best of that. Otherwise it gives the best one.
func (l *Layout) forPlatform(img Image, want v1.Platform) (best v1.Descriptor, suits bool, err error) {
	if img.Index == nil {
		config, err := l.Config(img)
		return best, err == nil && platform.Serves(platformOf(config), want), err
	}
	manifests, err := l.manifests(*img.Index)
	if err != nil {
		return best, false, damaged(img, err)
	}
	best, found := platform.Choose(manifests, want)
	return best, found && best.Digest == img.Manifest.Digest, nil
}

// sibling gives another image of the index that an image was taken from, if all
// of it is here.
func (l *Layout) sibling(img Image, manifest v1.Descriptor) (Image, bool) {
	if manifest.Digest == "" {
		return Image{}, false
	}
	plain := v1.Descriptor{MediaType: manifest.MediaType, Digest: manifest.Digest, Size: manifest.Size}
	if _, err := l.needed(plain, img.Index); err != nil {
		return Image{}, false
	}
	e, err := l.newEntry(plain, img.Index)
	return e.image(), err == nil
}

// Siblings gives the images of the index that an image was taken from, the image
// among them, as far as all of each is here.
func (l *Layout) Siblings(img Image) ([]Image, error) {
	if img.Index == nil {
		return []Image{img}, nil
	}
	manifests, err := l.present(*img.Index)
	if err != nil {
		return nil, damaged(img, err)
	}
	var siblings []Image
	for _, m := range manifests {
		if one, ok := l.sibling(img, m); ok {
			one.Name = img.Name
			siblings = append(siblings, one)
		}
	}
	return siblings, nil
}

// platformOf is a config's platform; what it doesn't say is as it is here.
func platformOf(c *ImageConfig) v1.Platform {
	p := c.Platform()
	if p.Architecture == "" {
		p.Architecture = platform.Here().Architecture
	}
	return p
}

// baseOf is the annotation of an image that CommitBase keeps.
func baseOf(name string, want v1.Platform) string { return platform.Name(want) + " " + name }

// manifests gives what an index lists. Of an image that is here the platform is
// known, whether or not the index tells it.
func (l *Layout) manifests(index v1.Descriptor) ([]v1.Descriptor, error) {
	list, err := l.readIndex(index)
	if err != nil {
		return nil, err
	}
	for i := range list.Manifests {
		if m := &list.Manifests[i]; m.Platform == nil && !IsIndex(m.MediaType) {
			m.Platform = l.platformIn(*m)
		}
	}
	return list.Manifests, nil
}

// platformIn gives the platform of a manifest's config, nil where that isn't here.
func (l *Layout) platformIn(manifest v1.Descriptor) *v1.Platform {
	m, err := l.readManifest(manifest.Digest)
	if err != nil {
		return nil
	}
	config, err := l.Config(Image{ID: m.Config.Digest})
	if err != nil {
		return nil
	}
	p := platformOf(config)
	return &p
}

// Resolve gives the image manifest that a descriptor means: itself, or of an
// index the one that serves the platform best, along with the index. Of those
// that aren't here none is meant.
func (l *Layout) Resolve(target v1.Descriptor, want v1.Platform) (manifest v1.Descriptor, multi *v1.Descriptor, err error) {
	plain := v1.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
	if !IsIndex(target.MediaType) {
		return plain, nil, nil
	}
	present, err := l.present(target)
	if err != nil {
		return manifest, nil, err
	}
	best, found := platform.Choose(present, want)
	if !found {
		return manifest, nil, fmt.Errorf("%w: index %s has %v, and none for %s", ErrPlatform, target.Digest, platform.Names(present), platform.Name(want))
	}
	return v1.Descriptor{MediaType: best.MediaType, Digest: best.Digest, Size: best.Size}, &plain, nil
}

// ResolveAny is Resolve, and gives the first manifest of an index that is here
// where none serves the platform.
func (l *Layout) ResolveAny(target v1.Descriptor, want v1.Platform) (manifest v1.Descriptor, multi *v1.Descriptor, err error) {
	manifest, multi, err = l.Resolve(target, want)
	if !errors.Is(err, ErrPlatform) {
		return manifest, multi, err
	}
	present, err := l.present(target)
	if err != nil {
		return manifest, nil, err
	}
	plain := v1.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
	first := present[0]
	return v1.Descriptor{MediaType: first.MediaType, Digest: first.Digest, Size: first.Size}, &plain, nil
}

// present gives the images of an index that are here: at least one.
func (l *Layout) present(index v1.Descriptor) ([]v1.Descriptor, error) {
	all, err := l.manifests(index)
	if err != nil {
		return nil, err
	}
	var present []v1.Descriptor
	for _, m := range all {
		if l.HasBlob(m.Digest, m.Size) && !platform.IsAttestation(m) {
			present = append(present, m)
		}
	}
	if len(present) == 0 {
		return nil, fmt.Errorf("%w: every manifest of index %s", ErrAbsent, index.Digest)
	}
	return present, nil
}
