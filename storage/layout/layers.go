package layout

import (
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// goneLayers gives those layers of an image, the top one first, that no image in
// ix has any more. An image that can't be read has none.
func (l *Layout) goneLayers(ix *index, gone entry) []FreeLayer {
	image := gone.image()
	m, err := l.readManifest(image.Manifest.Digest)
	if err != nil {
		return nil
	}
	diffIDs, err := l.diffIDs(image.ID)
	if err != nil || len(diffIDs) != len(m.Layers) {
		return nil
	}
	blobs := make([]string, len(m.Layers))
	for i, layer := range m.Layers {
		blobs[i] = shortBlob(layer.Digest)
	}
	shared := l.sharedLayers(ix, blobs, diffIDs)
	var layers []FreeLayer
	for i, id := range slices.Backward(identity.ChainIDs(slices.Clone(diffIDs))) {
		if i >= shared {
			layers = append(layers, FreeLayer{ChainID: id, Blob: m.Layers[i].Digest})
		}
	}
	return layers
}

// UsedLayers gives the chain IDs of those layers that an image has, with the same
// blob.
func (l *Layout) UsedLayers(layers []FreeLayer) ([]digest.Digest, error) {
	if len(layers) == 0 {
		return nil, nil
	}
	ix, err := l.read()
	if err != nil {
		return nil, err
	}
	l.adoptAll(ix)
	var used []digest.Digest
	open := slices.Clone(layers)
	for i := range ix.entries {
		e := &ix.entries[i]
		if len(open) == 0 {
			break
		}
		if !slices.ContainsFunc(open, e.mayHave) {
			continue
		}
		diffIDs, err := l.diffIDs(e.id)
		if errors.Is(err, ErrAbsent) || errors.Is(err, ErrInvalid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		chain := identity.ChainIDs(diffIDs)
		open = slices.DeleteFunc(open, func(layer FreeLayer) bool {
			if !slices.Contains(chain, layer.ChainID) {
				return false
			}
			used = append(used, layer.ChainID)
			return true
		})
	}
	l.last.Store(ix)
	return used, nil
}

// mayHave tells whether e may be an image with a layer.
func (e *entry) mayHave(layer FreeLayer) bool {
	return e.broken == nil && e.hasBlob(shortBlob(layer.Blob))
}

// sharedLayers counts the layers, from the base up, that another image has too.
// The beginnings of digests in the annotations say which configs must be read:
// one, where ten thousand images have the same base.
func (l *Layout) sharedLayers(ix *index, blobs []string, diffIDs []digest.Digest) int {
	shared := 0
	for i := range ix.entries {
		e := &ix.entries[i]
		if shared == len(blobs) {
			break
		}
		if !e.known() || e.leadsTo(blobs) <= shared {
			continue
		}
		others, err := l.diffIDs(e.id)
		if err != nil {
			continue
		}
		same := 0
		for same < min(len(others), len(diffIDs)) && others[same] == diffIDs[same] {
			same++
		}
		shared = max(shared, same)
	}
	return shared
}

// leadsTo counts the blobs, from the first on, whose digests begin as those of
// blobs that e leads to.
func (e *entry) leadsTo(blobs []string) int {
	for n, blob := range blobs {
		if !e.hasBlob(blob) {
			return n
		}
	}
	return len(blobs)
}

func (e *entry) hasBlob(short string) bool {
	for rest := e.blobs; rest != ""; {
		at := strings.Index(rest, short)
		if at < 0 {
			return false
		}
		if (len(e.blobs)-len(rest)+at)%blobLen == 0 {
			return true
		}
		rest = rest[at+1:]
	}
	return false
}

// diffIDs gives those of the image with an id.
func (l *Layout) diffIDs(id digest.Digest) ([]digest.Digest, error) {
	data, err := l.ReadBlob(id)
	if err != nil {
		return nil, err
	}
	config, err := ParseConfig(data)
	if err != nil {
		return nil, err
	}
	return config.RootFS.DiffIDs, nil
}
