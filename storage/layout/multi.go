package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
)

// ErrNoIndex is behind every error about an image that isn't a multi-platform
// index.
var ErrNoIndex = errors.New("not a manifest list")

// ErrTaken is behind the error about a new name that another image has.
var ErrTaken = errors.New("the name is taken")

// errMoved says that an index isn't what it was when its change began.
var errMoved = errors.New("the index has been changed meanwhile")

// Multi gives the multi-platform index that ref means, and what it lists. Its
// image is the one that the index is for on this machine.
func (l *Layout) Multi(ref string) (Image, *v1.Index, error) {
	img, err := l.Find(ref)
	if err != nil {
		return img, nil, err
	}
	target := img.Target()
	if !IsIndex(target.MediaType) {
		return img, nil, fault.New("make one: builder manifest create NAME "+ref, "%w: %s", ErrNoIndex, ref)
	}
	list, err := l.readIndex(target)
	if err != nil {
		return img, nil, damaged(img, err)
	}
	return img, list, nil
}

func (l *Layout) readIndex(d v1.Descriptor) (*v1.Index, error) {
	data, err := l.ReadBlob(d.Digest)
	if err != nil {
		return nil, err
	}
	var list v1.Index
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	return &list, nil
}

// NewMulti gives a name to an index that lists manifests, which may be none. A
// name that is taken is an error.
func (l *Layout) NewMulti(ctx context.Context, name string, list *v1.Index) (v1.Descriptor, error) {
	canonical, err := parseTag(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	taken := func(ix *index) error {
		if ix.findName(canonical) == nil {
			return nil
		}
		return fault.New("choose another name, or take it from what has it: builder untag "+name+" "+name, "%w: %s", ErrTaken, name)
	}
	ix, err := l.read()
	if err == nil {
		err = taken(ix)
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	made, err := l.putMulti(ctx, v1.MediaTypeImageIndex, list)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return made.descriptor(), l.change(ctx, func(ix *index) error {
		if err := taken(ix); err != nil {
			return err
		}
		ix.name(canonical, made)
		return nil
	})
}

// ChangeMulti lets fn change what the index that ref means lists, and gives it its
// place under the same name. It starts anew, fn included, where another process
// was faster.
func (l *Layout) ChangeMulti(ctx context.Context, ref string, fn func(*v1.Index) error) (v1.Descriptor, error) {
	for {
		img, list, err := l.Multi(ref)
		if err != nil {
			return v1.Descriptor{}, err
		}
		old := img.Target()
		if err := fn(list); err != nil {
			return old, err
		}
		made, err := l.putMulti(ctx, old.MediaType, list)
		if err != nil || made.digest == old.Digest {
			return old, err
		}
		before, err := l.reach(old.Digest)
		if err != nil {
			return old, err
		}
		err = l.change(ctx, func(ix *index) error { return ix.replace(img.Name, old.Digest, made) })
		if err == nil && l.freedFile != "" {
			err = l.NoteFree(Free{Blobs: slices.Collect(maps.Keys(before))})
		}
		if !errors.Is(err, errMoved) {
			return made.descriptor(), err
		}
	}
}

// replace puts another index in the place of the one that has a name, or none.
func (ix *index) replace(name string, old digest.Digest, made entry) error {
	e := ix.first(func(e *entry) bool { return e.name == name && e.digest == old })
	if e == nil {
		return errMoved
	}
	made.base = e.base
	*e = made
	e.rename(name)
	ix.changed = true
	if name != "" {
		ix.dropNameless(made)
	}
	return nil
}

// putMulti stores an index, syncs what it leads to, and gives its entry.
func (l *Layout) putMulti(ctx context.Context, mediaType string, list *v1.Index) (entry, error) {
	list.Versioned, list.MediaType = specs.Versioned{SchemaVersion: 2}, mediaType
	if list.Manifests == nil {
		list.Manifests = []v1.Descriptor{} // null is no list to strict readers
	}
	data, err := json.Marshal(list)
	if err != nil {
		return entry{}, err
	}
	d, err := l.PutBytes(ctx, data)
	if err != nil {
		return entry{}, err
	}
	d.MediaType = mediaType
	reached, err := l.reach(d.Digest)
	if err != nil {
		return entry{}, err
	}
	if err := l.SyncBlobs(ctx, l.unsynced(slices.Collect(maps.Keys(reached)))); err != nil {
		return entry{}, err
	}
	manifest, found, err := l.usable(list)
	if err != nil {
		return entry{}, err
	}
	if !found {
		return l.emptyEntry(d, reached)
	}
	return l.newEntry(manifest, &d)
}

// usable gives the image of an index for this machine, or else its first one, of
// those that are whole here: of others in registries there may be no layers.
func (l *Layout) usable(list *v1.Index) (manifest v1.Descriptor, found bool, err error) {
	var whole []v1.Descriptor
	for _, m := range list.Manifests {
		has, err := l.HasAll(m)
		if err != nil {
			return manifest, false, err
		}
		if has && !platform.IsAttestation(m) && !IsIndex(m.MediaType) {
			whole = append(whole, m)
		}
	}
	if len(whole) == 0 {
		return manifest, false, nil
	}
	best, found := platform.Choose(whole, platform.Here())
	if !found {
		best = whole[0]
	}
	return v1.Descriptor{MediaType: best.MediaType, Digest: best.Digest, Size: best.Size}, true, nil
}

// emptyEntry is the entry of an index of which no image is whole here. Its id is its own
// digest.
func (l *Layout) emptyEntry(d v1.Descriptor, reached map[digest.Digest]bool) (entry, error) {
	raw, err := json.Marshal(d)
	return entry{
		raw: string(raw), dirty: true, mediaType: d.MediaType, digest: d.Digest, size: d.Size,
		details: details{of: shortOf(d.Digest), id: d.Digest, blobs: shortBlobs(d.Digest, reached)},
	}, err
}

// Listed gives the descriptor with which an index lists an image: its manifest's,
// with the platform that its config tells.
func (l *Layout) Listed(manifest v1.Descriptor) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: manifest.MediaType, Digest: manifest.Digest, Size: manifest.Size}
	m, err := l.readManifest(manifest.Digest)
	if err != nil {
		return d, err
	}
	config, err := l.Config(Image{ID: m.Config.Digest})
	if err != nil {
		return d, err
	}
	p := platformOf(config)
	d.Platform = &p
	return d, nil
}

// Listable gives what an index lists of an image: the manifest itself, or with all
// set every image of its own index of which everything is here.
func (l *Layout) Listable(img Image, all bool) ([]v1.Descriptor, error) {
	if err := img.empty(); err != nil {
		return nil, err
	}
	if img.Index == nil || !all {
		d, err := l.Listed(img.Manifest)
		return []v1.Descriptor{d}, err
	}
	children, err := l.manifests(*img.Index)
	if err != nil {
		return nil, damaged(img, err)
	}
	var found []v1.Descriptor
	for _, child := range children {
		whole, err := l.HasAll(child)
		if err != nil {
			return nil, err
		}
		if whole && !platform.IsAttestation(child) {
			found = append(found, child)
		}
	}
	return found, nil
}

// empty is the error about an index that is used as an image and has none.
func (i Image) empty() error {
	if !IsIndex(i.Manifest.MediaType) {
		return nil
	}
	name := Familiar(i.Name)
	return fault.New("builder manifest add "+name+" IMAGE", "%w", noImage(name))
}

// noImage is ErrInvalid about the index of this name.
type noImage string

func (e noImage) Error() string {
	return fmt.Sprintf("the manifest list %s has no image that is here", string(e))
}

func (noImage) Is(target error) bool { return target == ErrInvalid }
