package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Repaired is a problem and what was done about it.
type Repaired struct {
	Problem
	Did string
}

func (r Repaired) String() string { return r.Problem.String() + ": " + r.Did }

// rounds bounds how often Repair looks again: a record that is dropped can
// leave others and steps behind that lead nowhere.
const rounds = 4

// Repair drops or makes again what Check finds fault with. A layer whose tree
// is still there is packed again; where one can't be had, the images that need
// it lose their names, and have to be pulled or built again. Records that lead
// nowhere go, so that a build makes the steps again. trees, which may be nil, is
// the driver root that layers are packed from.
//
// Nobody else may use the store meanwhile.
func (c *Collector) Repair(ctx context.Context, trees *snapshot.Store) ([]Repaired, error) {
	var done []Repaired
	alone, err := c.alone(ctx, func() error {
		for range rounds {
			problems, err := c.check(ctx, true)
			if err != nil {
				return err
			}
			before := len(done)
			for _, p := range problems {
				did, err := c.mend(ctx, p, trees)
				if err != nil {
					return fmt.Errorf("%s: %w", p.Path, err)
				}
				if did != "" {
					done = append(done, Repaired{p, did})
				}
			}
			if len(done) == before {
				return nil
			}
		}
		return nil
	})
	if err == nil && !alone {
		err = fault.New("wait until no other builder command runs, and try again", "the store is in use")
	}
	return done, err
}

// mend says what it did about a problem, if anything.
func (c *Collector) mend(ctx context.Context, p Problem, trees *snapshot.Store) (string, error) {
	switch p.Kind {
	case KindIndex:
		return c.mendIndex(ctx)
	case KindBlob:
		return c.mendBlob(ctx, p, trees)
	case KindRecord:
		return "forgotten", os.Remove(p.Path)
	case KindTree:
		if err := c.Records.DropTree(p.key, p.tree.root, p.tree.id); err != nil {
			return "", err
		}
		return "dropped: it is made again when it is needed", nil
	case KindStep:
		if did, err := c.forgetLog(p.key); did || err != nil {
			return "the step is kept without it", err
		}
		return "forgotten: it is made again when it is needed", os.Remove(p.Path)
	case KindFailure:
		return "forgotten", c.Cache.RemoveFailure(p.key)
	case KindContainer:
		return c.mendKept(p)
	case KindLeftover:
		return c.mendLeftover(p)
	}
	return "", nil
}

// forgetLog records a step again that lacks nothing but its output, and reports
// whether that is so.
func (c *Collector) forgetLog(key digest.Digest) (bool, error) {
	step, err := c.Cache.Step(key)
	if err != nil || c.resultDamage(step) != "" {
		return false, nil //nolint:nilerr // an unreadable step is forgotten whole
	}
	inputs, err := c.Cache.Inputs(key)
	if err != nil {
		return false, nil //nolint:nilerr // likewise
	}
	step.Log = ""
	return true, c.Cache.PutStep(step, slices.Values(inputs))
}

// mendIndex puts a damaged index.json aside, and begins one with the images that
// are still there. Their names are lost.
func (c *Collector) mendIndex(ctx context.Context) (string, error) {
	found, err := c.manifests()
	if err != nil {
		return "", err
	}
	images, err := c.Layout.Rebuild(ctx, found)
	return fmt.Sprintf("put aside, and begun anew with %d images, whose names are lost", images), err
}

// cutShort reports whether an earlier repair has put index.json aside, and not
// come to listing the images that are there.
func (c *Collector) cutShort(images []layout.Image) (bool, error) {
	if _, err := os.Lstat(c.Layout.DamagedPath()); err != nil || len(images) > 0 {
		return false, ignoreAbsent(err)
	}
	found, err := c.manifests()
	if err != nil {
		return false, err
	}
	free, err := c.Layout.ReadFree()
	return slices.ContainsFunc(found, func(m v1.Descriptor) bool { return !slices.Contains(free.Blobs, m.Digest) }), err
}

func (c *Collector) indexPath() string { return filepath.Join(c.Layout.Dir(), v1.ImageIndexFile) }

// manifests gives those of all images whose blobs are there, whether index.json
// leads to them or not.
func (c *Collector) manifests() ([]v1.Descriptor, error) {
	var found []v1.Descriptor
	var unread error
	err := c.eachBlob(func(d digest.Digest, st fs.FileInfo) {
		m := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: d, Size: st.Size()}
		ok, err := c.isImage(&m)
		if ok {
			found = append(found, m)
		}
		unread = errors.Join(unread, err)
	})
	return found, errors.Join(err, unread)
}

// isImage reports whether m is the manifest of an image that is whole, and
// gives it the media type that it tells itself.
func (c *Collector) isImage(m *v1.Descriptor) (bool, error) {
	data, err := c.Layout.ReadBlob(m.Digest)
	if errors.Is(err, layout.ErrAbsent) {
		return false, nil
	}
	var told struct {
		MediaType string        `json:"mediaType"`
		Config    v1.Descriptor `json:"config"`
	}
	if err != nil || json.Unmarshal(data, &told) != nil || told.Config.Digest == "" {
		return false, err
	}
	if told.MediaType != "" {
		m.MediaType = told.MediaType
	}
	return c.Layout.IsWhole(*m)
}

// mendLeftover leaves blobs alone: another tool may be writing an image.
// Trees it leaves to a process inside the user namespace.
func (c *Collector) mendLeftover(p Problem) (string, error) {
	var err error
	switch {
	case p.digest != "" || p.tree.id != "" && !c.Inside:
		return "", nil
	case p.tree.id != "":
		err = snapshot.RemoveTree(c.Snapshots, p.tree.root, p.tree.id)
	default:
		err = removal.All(p.Path)
	}
	if !c.Inside && errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	return "removed", err
}

// mendBlob removes a damaged blob, and packs it again or gives up the images.
func (c *Collector) mendBlob(ctx context.Context, p Problem, trees *snapshot.Store) (string, error) {
	if err := os.Remove(p.Path); ignoreAbsent(err) != nil {
		return "", err
	}
	if trees != nil {
		packed, err := c.packAgain(ctx, p.digest, trees)
		if err != nil {
			return "", err
		}
		if packed {
			return "packed again from its tree", nil
		}
	}
	var lost []string
	for _, img := range p.images {
		ref := img.Name
		if ref == "" {
			ref = img.ID.String()
		}
		_, err := c.Layout.Remove(ctx, ref, layout.RemoveOptions{Force: true})
		switch {
		case errors.Is(err, layout.ErrUnknown): // it was given up for another blob
		case err != nil:
			return "", err
		default:
			lost = append(lost, nameOf(img))
		}
	}
	if len(lost) == 0 {
		return "removed", nil
	}
	return "removed, and with it " + strings.Join(lost, ", ") + ": pull or build it again", nil
}

// packAgain makes a layer's blob from the tree that it was packed from.
func (c *Collector) packAgain(ctx context.Context, blob digest.Digest, trees *snapshot.Store) (bool, error) {
	records, err := c.allRecords()
	if err != nil {
		return false, err
	}
	for key, rec := range records {
		for _, p := range rec.Packings {
			if p.Blob.Digest != blob || p.Packer != layer.PackerVersion {
				continue
			}
			src, err := trees.Changes(key)
			if err != nil {
				continue
			}
			if ok, err := c.pack(ctx, src, p); ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

// pack reports whether packing src as p was gave the same blob.
func (c *Collector) pack(ctx context.Context, src layer.Source, p snapshot.Packing) (bool, error) {
	w, err := c.Layout.NewBlobWriter(c.Session)
	if err != nil {
		return false, err
	}
	got, err := layer.Pack(ctx, src, w, layer.PackOptions{Compression: p.Compression, Level: p.Level, Time: p.Time})
	if errors.Is(err, fs.ErrNotExist) {
		return false, w.Cancel() // the tree is no better than the blob
	}
	if err != nil || got.Blob.Digest != p.Blob.Digest {
		return false, errors.Join(err, w.Cancel())
	}
	if err := w.Commit(got.Blob.Digest); err != nil {
		return false, err
	}
	return true, c.Layout.SyncBlobs(ctx, []digest.Digest{got.Blob.Digest})
}
