package layout

import (
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

// WithBeyond gives the same layout with a function that is asked for an image
// which index.json doesn't name. Its error is ErrUnknown where it has none either.
func (l *Layout) WithBeyond(find func(ref string) (Image, error)) *Layout {
	more := *l
	more.beyond = find
	return &more
}

// findBeyond looks further for an image that isn't in index.json.
func (l *Layout) findBeyond(ref string, err error) (Image, error) {
	if l.beyond == nil || !errors.Is(err, ErrUnknown) {
		return Image{}, err
	}
	img, further := l.beyond(ref)
	if errors.Is(further, ErrUnknown) {
		return Image{}, err
	}
	return img, further
}

// Named gives the image with an id that index.json names.
func (l *Layout) Named(id digest.Digest) (Image, error) {
	ix, err := l.read()
	if err != nil {
		return Image{}, err
	}
	e := ix.first(func(e *entry) bool { return e.id == id })
	if e == nil {
		return Image{}, unknown(id.String())
	}
	return e.image(), nil
}

// Describe gives the image of a manifest that WriteImage has written.
func (l *Layout) Describe(manifest v1.Descriptor) (Image, error) {
	e, err := l.newEntry(manifest, nil)
	return e.image(), err
}

// Unwritten is an image that isn't in the layout, but could be made: it can be
// listed and selected like the others. Its config belongs to it.
func Unwritten(id digest.Digest, created time.Time, size int64, config *ImageConfig) Image {
	return Image{ID: id, Created: created, Size: size, config: config}
}

// ErrStep is behind the error of Remove about a step of the build cache, whose image
// isn't index.json's to remove.
var ErrStep = errors.New("conflict")

// notRemoved is the error of Remove for ref: it says so where an image has that id
// which isn't index.json's to remove.
func (l *Layout) notRemoved(ref string, err error) error {
	if !errors.Is(err, ErrUnknown) {
		return err
	}
	if _, further := l.findBeyond(ref, err); errors.Is(further, ErrUnknown) {
		return err
	}
	return &fault.Error{
		Err:    fmt.Errorf("%w: unable to delete %s (cannot be forced) - image has dependent child images", ErrStep, ref),
		Remedy: "it is a step of the build cache, and goes with it: builder cache prune",
		Code:   1,
	}
}
