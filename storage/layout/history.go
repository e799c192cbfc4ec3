package layout

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Step is one line of an image's history.
type Step struct {
	v1.History
	// Layer is the layer that the step made, nil where it made none.
	Layer *v1.Descriptor
	// DiffIDs are those of the layers up to this step, its own last.
	DiffIDs []digest.Digest
	// Size is what the layer takes unpacked, in bytes, as far as the layout can
	// tell; see Image.Size.
	Size int64
}

// History tells how an image came to be, the last step first. A history that
// tells of more layers than there are is an error, as in docker; layers that none
// tells of are left out.
func (l *Layout) History(img Image) ([]Step, error) {
	config, err := l.Config(img)
	if err != nil {
		return nil, err
	}
	m, err := l.Manifest(img)
	if err != nil {
		return nil, err
	}
	steps := make([]Step, 0, len(config.History))
	made := 0
	for _, h := range config.History {
		step := Step{History: h}
		if !h.EmptyLayer {
			if made >= len(m.Layers) || made >= len(config.RootFS.DiffIDs) {
				return nil, damaged(img, fmt.Errorf("%w: its history tells of more layers than its %d", ErrInvalid, len(m.Layers)))
			}
			step.Layer = &m.Layers[made]
			step.Size = l.layerSize(m.Layers[made])
			made++
		}
		step.DiffIDs = config.RootFS.DiffIDs[:made]
		steps = append(steps, step)
	}
	slices.Reverse(steps)
	return steps, nil
}
