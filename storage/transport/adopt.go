package transport

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ocilayout "github.com/containers/image/v5/oci/layout"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

// fromLayout takes up an image of another OCI layout on disk. Every blob that
// isn't here yet is checked.
func (o Options) fromLayout(ctx context.Context, from Source, named bool) ([]layout.Image, error) {
	dir, ref := splitLayoutPlace(from.place)
	found, err := describedIn(dir, ref)
	if err != nil {
		return nil, err
	}
	image, id, err := o.takeFrom(ctx, dir, found, o.allowedInLayout(ctx, from, dir))
	if err != nil {
		return nil, err
	}
	return o.settle(ctx, image, id, named)
}

// allowedInLayout asks policy.json about an image of a layout, which policies
// know by its directory.
func (o Options) allowedInLayout(ctx context.Context, from Source, dir string) func(manifest []byte, mediaType string) error {
	return func(manifest []byte, mediaType string) error {
		ref, err := ocilayout.NewReference(dir, "")
		if err != nil {
			return err
		}
		return o.allowedUnsigned(ctx, ref, manifest, mediaType, from.String())
	}
}

// takeFrom copies the blobs of the image that a layout describes so, if it is
// allowed.
func (o Options) takeFrom(ctx context.Context, dir string, found v1.Descriptor, allowed func(manifest []byte, mediaType string) error) (loaded, digest.Digest, error) {
	wanted, err := platform.Parse(o.Platform)
	if err != nil {
		return loaded{}, "", err
	}
	a := &adoption{ctx: ctx, from: layout.Open(dir, ""), to: o.layout(), options: o}
	manifest, multi, err := a.from.Resolve(found, wanted)
	if err != nil {
		return loaded{}, "", err
	}
	raw, err := a.from.ReadBlob(manifest.Digest)
	if err == nil {
		err = allowed(raw, manifest.MediaType)
	}
	var m *v1.Manifest
	if err == nil {
		m, err = parseManifest(raw, manifest.MediaType)
	}
	if err == nil {
		err = o.suitsManifest(a.from, m)
	}
	if err == nil {
		err = a.take(manifest, m, multi)
	}
	if err != nil {
		return loaded{}, "", err
	}
	image := loaded{manifest: manifest, index: multi}
	if name, ok := nameOf(found); ok {
		image.names = []string{name}
	}
	return image, m.Config.Digest, nil
}

// splitLayoutPlace splits DIR[:REF] and DIR[@DIGEST].
func splitLayoutPlace(place string) (dir, ref string) {
	if at := strings.LastIndexByte(place, '@'); at > 0 && digest.Digest(place[at+1:]).Validate() == nil {
		dir, _ := splitPlace(place[:at])
		return dir, place[at:]
	}
	return splitPlace(place)
}

// describedIn finds an image in the index.json of a layout. Without a ref it is
// the only one, or else the one that is called latest.
func describedIn(dir, ref string) (v1.Descriptor, error) {
	if _, err := os.Stat(filepath.Join(dir, v1.ImageIndexFile)); err != nil {
		return v1.Descriptor{}, fault.New("name the directory that holds oci-layout, index.json and blobs", "%w", err)
	}
	all, err := layout.Open(dir, "").Descriptors()
	if err != nil {
		return v1.Descriptor{}, err
	}
	held := make([]heldImage, len(all))
	for i, d := range all {
		held[i].digest = d.Digest
		if name, ok := nameOf(d); ok {
			held[i].names = []string{name}
		}
		if name := d.Annotations[v1.AnnotationRefName]; name != "" {
			held[i].shown = []string{name}
			if name == ref {
				return d, nil
			}
		}
	}
	at, err := choose(held, ref)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return all[at], nil
}

// adoption copies the blobs of one image.
type adoption struct {
	ctx      context.Context
	from, to *layout.Layout
	options  Options
}

func (a *adoption) take(manifest v1.Descriptor, m *v1.Manifest, multi *v1.Descriptor) error {
	if err := a.to.Lease(blobsOf(m)...); err != nil {
		return err
	}
	small := []v1.Descriptor{manifest, m.Config}
	if multi != nil {
		small = append(small, *multi)
	}
	for _, d := range small {
		data, err := a.from.ReadBlob(d.Digest)
		if err != nil {
			return err
		}
		if _, err := a.to.PutBytes(a.ctx, data); err != nil {
			return err
		}
	}
	tell := a.options.reporter().tell
	for _, d := range m.Layers {
		if a.to.HasBlob(d.Digest, d.Size) {
			tell(Event{Kind: Exists, Digest: d.Digest, Size: d.Size, Offset: d.Size})
			continue
		}
		tell(Event{Kind: Started, Digest: d.Digest, Size: d.Size})
		if err := a.blob(d); err != nil {
			return err
		}
		tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	}
	return nil
}

func (a *adoption) blob(d v1.Descriptor) error {
	f, err := a.from.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := storeBlob(a.to, a.options.Session, d, f); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return nil
}
