package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

// Commit makes an image part of the layout under names (in any form that
// ParseName takes), or without a name where there are none. All its blobs must
// be there; they are synced before index.json names them. An image that had one
// of the names loses it, and stays without name where it has no other. Where
// everything stands so already, nothing is written.
//
// The multi index is the multi-platform one that the manifest was taken from, or
// nil.
func (l *Layout) Commit(ctx context.Context, names []string, manifest v1.Descriptor, multi *v1.Descriptor) error {
	return l.commit(ctx, names, manifest, multi, "")
}

// CommitPulled is Commit for an image that the name's registry has given: it has
// the name by its digest as well.
func (l *Layout) CommitPulled(ctx context.Context, name string, manifest v1.Descriptor, multi *v1.Descriptor) error {
	target := manifest.Digest
	if multi != nil {
		target = multi.Digest
	}
	return l.commit(ctx, []string{name}, manifest, multi, target.String())
}

// NotePushed notes that the registry of a canonical name knows the image with an
// id by a digest now. Where the image doesn't have the name, nothing is noted.
func (l *Layout) NotePushed(ctx context.Context, name string, id, d digest.Digest) error {
	if strings.Contains(name, "@") {
		return nil // that is its digest already
	}
	return l.change(ctx, func(ix *index) error {
		e := ix.first(func(e *entry) bool { return e.name == name && e.id == id })
		if e != nil {
			ix.changed = e.noteDigest(d.String()) || ix.changed
		}
		return nil
	})
}

func (l *Layout) commit(ctx context.Context, names []string, manifest v1.Descriptor, multi *v1.Descriptor, repoDigests string) error {
	canonical, err := parseNames(names)
	if err != nil {
		return err
	}
	image, err := l.newEntry(manifest, multi)
	if err != nil {
		return fmt.Errorf("image to be named: %w", err)
	}
	image.repoDigests = repoDigests
	blobs, err := l.needed(manifest, multi)
	if err != nil {
		return err
	}
	if l.stands(canonical, image) {
		// All was synced then, but for what has been replaced since.
		return l.SyncBlobs(ctx, l.unsynced(blobs))
	}
	if err := l.SyncBlobs(ctx, blobs); err != nil {
		return err
	}
	return l.change(ctx, func(ix *index) error {
		for _, d := range blobs {
			if !l.HasBlob(d, -1) { // removed since it was synced
				return fmt.Errorf("image to be named: %w: %s", ErrAbsent, d)
			}
		}
		if len(canonical) == 0 {
			ix.addNameless(image)
		}
		for _, name := range canonical {
			ix.name(name, image)
		}
		return nil
	})
}

// CommitBase is Commit for an image that is to be found by FindFor alone, for
// the platform and under the name: the name itself stays with the image that has
// it, which is for another platform.
func (l *Layout) CommitBase(ctx context.Context, name string, want v1.Platform, manifest v1.Descriptor, multi *v1.Descriptor) (Image, error) {
	image, err := l.newEntry(manifest, multi)
	if err != nil {
		return Image{}, fmt.Errorf("image to be kept: %w", err)
	}
	blobs, err := l.needed(manifest, multi)
	if err != nil {
		return Image{}, err
	}
	if err := l.SyncBlobs(ctx, blobs); err != nil {
		return Image{}, err
	}
	return image.image(), l.change(ctx, func(ix *index) error {
		for _, d := range blobs {
			if !l.HasBlob(d, -1) { // removed since it was synced
				return fmt.Errorf("image to be kept: %w: %s", ErrAbsent, d)
			}
		}
		base := baseOf(name, want)
		if old := ix.first(func(e *entry) bool { return e.base == base }); old == nil || !old.sameImage(image) {
			ix.keepBase(base, image)
		}
		return nil
	})
}

// asDocker gives an error the exit code that docker's commands about images
// have.
func asDocker(err error) error {
	var known *fault.Error
	if !errors.As(err, &known) {
		return err
	}
	coded := *known
	coded.Code = 1
	return &coded
}

func parseNames(names []string) ([]string, error) {
	var canonical []string
	for _, s := range names {
		name, err := ParseName(s)
		if err != nil {
			return nil, err
		}
		canonical = append(canonical, name)
	}
	return canonical, nil
}

// newEntry makes the descriptor of an image that isn't in index.json yet.
func (l *Layout) newEntry(manifest v1.Descriptor, multi *v1.Descriptor) (entry, error) {
	target := manifest
	if multi != nil {
		target = *multi
	}
	known, err := l.describe(target, manifest)
	if err != nil {
		return entry{}, err
	}
	plain := v1.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
	raw, err := json.Marshal(plain)
	if err != nil {
		return entry{}, err
	}
	return entry{
		raw: string(raw), dirty: true,
		mediaType: target.MediaType, digest: target.Digest, size: target.Size,
		details: known,
	}, nil
}

// unsynced gives those of blobs that this process has written and not synced.
func (l *Layout) unsynced(blobs []digest.Digest) []digest.Digest {
	return slices.DeleteFunc(slices.Clone(blobs), func(d digest.Digest) bool {
		_, written := l.written.Load(d)
		return !written
	})
}

// stands tells whether index.json names the image so already.
func (l *Layout) stands(names []string, image entry) bool {
	ix, err := l.read()
	if err != nil {
		return false
	}
	for _, name := range names {
		e := ix.first(func(e *entry) bool { return e.name == name })
		if e == nil || !e.known() || !e.sameImage(image) || !strings.Contains(e.repoDigests, image.repoDigests) {
			return false
		}
	}
	return len(names) > 0 || ix.first(func(e *entry) bool { return e.known() && e.sameImage(image) }) != nil
}

// needed gives the blobs that the image can't do without. Of an index that is
// itself and the one manifest: other platforms needn't be here.
func (l *Layout) needed(manifest v1.Descriptor, multi *v1.Descriptor) ([]digest.Digest, error) {
	m, err := l.readManifest(manifest.Digest)
	if err != nil {
		return nil, err
	}
	need := map[digest.Digest]int64{manifest.Digest: manifest.Size, m.Config.Digest: m.Config.Size}
	if multi != nil {
		need[multi.Digest] = multi.Size
	}
	for _, layer := range m.Layers {
		need[layer.Digest] = layer.Size
	}
	for d, size := range need {
		if !l.HasBlob(d, size) {
			return nil, fmt.Errorf("image to be named: %w: %s", ErrAbsent, d)
		}
	}
	return slices.Sorted(maps.Keys(need)), nil
}
