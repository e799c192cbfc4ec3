package layout

import (
	"encoding/json"
	"errors"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// HasAll says whether everything that a manifest or an index leads to is here, but
// for layers that are to be had elsewhere by an address. The error says that it
// can't be told at the moment.
func (l *Layout) HasAll(d v1.Descriptor) (bool, error) {
	data, err := l.ReadBlob(d.Digest)
	if errors.Is(err, ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var to links
	if json.Unmarshal(data, &to) != nil {
		return false, nil
	}
	for _, m := range to.Manifests {
		if has, err := l.HasAll(m); err != nil || !has {
			return false, err
		}
	}
	blobs := append(to.Layers, to.Blobs...)
	if to.Config != nil {
		blobs = append(blobs, *to.Config)
	}
	for _, b := range blobs {
		if len(b.URLs) == 0 && !l.HasBlob(b.Digest, b.Size) {
			return false, nil
		}
	}
	return true, nil
}
