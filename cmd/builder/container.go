package main

import (
	"cmp"
	"context"
	"io"
	"os"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// unpack makes the tree of an image where it isn't there yet.
func (h *host) unpack(ctx context.Context, img layout.Image) (*layout.ImageConfig, snapshot.Key, error) {
	l := h.store.Layout()
	config, err := l.Config(img)
	if err != nil {
		return nil, "", err
	}
	manifest, err := l.Manifest(img)
	if err != nil {
		return nil, "", err
	}
	diffIDs := config.RootFS.DiffIDs
	if len(diffIDs) != len(manifest.Layers) {
		return nil, "", fault.New("pull the image again, or choose another",
			"the image's manifest has %d layers, its config %d", len(manifest.Layers), len(diffIDs))
	}
	var tree snapshot.Key
	var layers []snapshot.UnpackLayer
	for i, chain := range identity.ChainIDs(append(diffIDs[:0:0], diffIDs...)) {
		blob := manifest.Layers[i]
		layers = append(layers, snapshot.UnpackLayer{
			Key: chain, DiffID: diffIDs[i], Size: blob.Size, Blob: blob.Digest, Image: cmp.Or(layout.Familiar(img.Name), img.ID.Encoded()[:format.ShortLen]),
			Open: func() (io.ReadCloser, error) { return l.OpenBlob(blob) },
		})
		tree = chain
	}
	return config, tree, h.snapshots.Unpack(ctx, layers, nil)
}

// makeWorkdir makes the directory that the program starts in, as docker does.
// Nothing runs in the tree yet, so what the path leads through stays as it is.
func makeWorkdir(rootfs, cwd string) error {
	dir, err := securejoin.SecureJoin(rootfs, cwd)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return fault.New("name another by --workdir", "Cannot mkdir: %s is not a directory", cwd)
	} else if err == nil {
		return nil
	}
	// Whatever umask the caller has, others than root shall get in.
	defer unix.Umask(unix.Umask(0o022))
	return os.MkdirAll(dir, 0o755)
}
