package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage/lock"
)

// DamagedPath is where Rebuild leaves an index.json that couldn't be read.
func (l *Layout) DamagedPath() string { return l.indexPath() + ".damaged" }

// Rebuild replaces index.json by one that has the images of these manifests, as
// far as they are whole, without names. It gives how many they are. The old file
// is in place until the new one is: whenever this is cut short it can be done
// again.
func (l *Layout) Rebuild(ctx context.Context, manifests []v1.Descriptor) (images int, err error) {
	held, err := lock.Exclusive(ctx, l.lockFile)
	if err != nil {
		return 0, err
	}
	defer held.Unlock()
	ix, err := parseIndex(emptyIndex)
	if err != nil {
		return 0, err
	}
	var blobs []digest.Digest
	for _, m := range manifests {
		image, need, err := l.whole(m)
		if err != nil {
			return 0, err
		}
		if need != nil {
			ix.addNameless(image)
			blobs = append(blobs, need...)
		}
	}
	if err := l.SyncBlobs(ctx, blobs); err != nil {
		return 0, err
	}
	if err := l.keepDamaged(); err != nil {
		return 0, err
	}
	return len(ix.entries), atomicfile.Stream(l.indexPath(), 0o644, ix.write)
}

// IsWhole reports whether a manifest is that of an image whose blobs are all
// there. The error says that it can't be told at the moment.
func (l *Layout) IsWhole(manifest v1.Descriptor) (bool, error) {
	_, need, err := l.whole(manifest)
	return need != nil, err
}

// whole gives the descriptor of an image without name, and the blobs that it
// needs: nil where one is missing, or it isn't an image.
func (l *Layout) whole(manifest v1.Descriptor) (entry, []digest.Digest, error) {
	image, err := l.newEntry(manifest, nil)
	var need []digest.Digest
	if err == nil {
		need, err = l.needed(manifest, nil)
	}
	var unread *fs.PathError
	if errors.As(err, &unread) {
		return image, nil, err
	}
	return image, need, nil
}

// keepDamaged gives an index.json that can't be read a second name. One that
// can is what an earlier try has left beside that name.
func (l *Layout) keepDamaged() error {
	if _, err := l.read(); err == nil {
		return nil
	}
	if err := os.Remove(l.DamagedPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(l.indexPath(), l.DamagedPath())
}
