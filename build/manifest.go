package build

import (
	"context"
	"errors"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

// checkManifest tells before anything is built that its image couldn't be added to
// the manifest list.
func checkManifest(o Options, l *layout.Layout) error {
	if o.Manifest == "" {
		return nil
	}
	name, err := layout.ParseName(o.Manifest)
	if err != nil {
		return fault.At("--manifest", err)
	}
	for _, t := range o.Tags {
		if own, err := layout.ParseName(t); err == nil && own == name {
			return fault.New("give the list another name than the image", "--manifest and --tag: both are %s", t)
		}
	}
	if _, _, err := l.Multi(o.Manifest); err != nil && !errors.Is(err, layout.ErrUnknown) {
		return fault.At("--manifest "+o.Manifest, err)
	}
	return nil
}

// addToManifest adds the image to the manifest list, in the place of what that has
// for the same platform: an earlier build's. The list is made where there is none.
func (b *build) addToManifest(ctx context.Context, manifest v1.Descriptor) error {
	if b.o.Manifest == "" {
		return nil
	}
	l := b.env.Store.Layout()
	d, err := l.Listed(manifest)
	if err != nil {
		return err
	}
	put := func(list *v1.Index) error {
		same := func(m v1.Descriptor) bool {
			return m.Digest == d.Digest || m.Platform != nil && platform.Name(*m.Platform) == platform.Name(*d.Platform)
		}
		if at := slices.IndexFunc(list.Manifests, same); at >= 0 {
			list.Manifests[at] = d
			return nil
		}
		list.Manifests = append(list.Manifests, d)
		return nil
	}
	for {
		_, err = l.ChangeMulti(ctx, b.o.Manifest, put)
		if !errors.Is(err, layout.ErrUnknown) {
			return err
		}
		_, err = l.NewMulti(ctx, b.o.Manifest, &v1.Index{Manifests: []v1.Descriptor{d}})
		if !errors.Is(err, layout.ErrTaken) {
			return err
		}
	}
}
