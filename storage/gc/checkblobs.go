package gc

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/storage/layout"
)

// checkBlobs verifies what images need and steps have packed, and lists blobs
// that nothing leads to.
func (c *Collector) checkBlobs(ctx context.Context) ([]Problem, error) {
	images, err := c.Layout.List()
	if err != nil {
		return []Problem{{Kind: KindIndex, Path: c.indexPath(), What: err.Error()}}, nil
	}
	if cut, err := c.cutShort(images); err != nil || cut {
		return []Problem{{Kind: KindIndex, Path: c.indexPath(), What: errCutShort.Error()}}, err
	}
	n := &needs{byDigest: map[digest.Digest]*need{}, reached: map[digest.Digest]bool{}}
	for _, img := range images {
		c.collect(n, img)
	}
	records, err := c.allRecords()
	if err != nil {
		return nil, err
	}
	packed := packedBlobs(records)
	// A marker that can't be read is a problem of its own, and names nothing.
	if _, err := c.keptTrees(); err == nil {
		if err := c.addSources(packed); err != nil {
			return nil, err
		}
	}
	var strays []Problem
	err = c.eachBlob(func(d digest.Digest, st fs.FileInfo) {
		switch blob, known := packed[d]; {
		case n.byDigest[d] != nil:
		case known:
			n.order = append(n.order, &need{Descriptor: blob})
		case n.reached[d]:
			n.order = append(n.order, &need{Descriptor: v1.Descriptor{Digest: d, Size: st.Size()}})
		default:
			strays = append(strays, Problem{
				Kind: KindLeftover, Path: c.Layout.BlobPath(d), What: "neither image nor step leads to this blob",
				Harmless: true, digest: d,
			})
		}
	})
	if err != nil {
		return nil, err
	}
	problems, err := c.verify(ctx, n.order)
	return append(problems, strays...), err
}

// need is a blob to be verified, and the images that can't do without it.
type need struct {
	v1.Descriptor
	images []layout.Image
}

// needs are blobs by their digest, in the order in which they were found.
type needs struct {
	byDigest map[digest.Digest]*need
	order    []*need
	// reached are the blobs that others lead to, whether needed or not.
	reached map[digest.Digest]bool
}

func (n *needs) add(d v1.Descriptor, img layout.Image) {
	n.reached[d.Digest] = true
	b := n.byDigest[d.Digest]
	if b == nil {
		b = &need{Descriptor: d}
		n.byDigest[d.Digest] = b
		n.order = append(n.order, b)
	}
	same := func(i layout.Image) bool { return i.ID == img.ID && i.Name == img.Name }
	if !slices.ContainsFunc(b.images, same) {
		b.images = append(b.images, img)
	}
}

// collect adds the blobs that img needs. A manifest that can't be read tells
// of no others, and is found when it is verified.
func (c *Collector) collect(n *needs, img layout.Image) {
	if img.Index != nil {
		n.add(*img.Index, img)
		c.reachPlatforms(n, img.Index.Digest)
	}
	n.add(img.Manifest, img)
	if layout.IsIndex(img.Manifest.MediaType) { // no image of it is whole here
		c.reachPlatforms(n, img.Manifest.Digest)
		return
	}
	m, err := c.Layout.Manifest(img)
	if err != nil {
		return
	}
	n.add(m.Config, img)
	for _, l := range m.Layers {
		n.add(l, img)
	}
}

// reachPlatforms notes what an index leads to: other tools may have put further
// platforms there, which builder doesn't need.
func (c *Collector) reachPlatforms(n *needs, index digest.Digest) {
	var to struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    *v1.Descriptor  `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
	}
	data, err := c.Layout.ReadBlob(index)
	if err != nil || json.Unmarshal(data, &to) != nil {
		return
	}
	if to.Config != nil {
		n.reached[to.Config.Digest] = true
	}
	for _, l := range to.Layers {
		n.reached[l.Digest] = true
	}
	for _, m := range to.Manifests {
		if !n.reached[m.Digest] {
			n.reached[m.Digest] = true
			c.reachPlatforms(n, m.Digest)
		}
	}
}

// verify reads every blob, several at a time.
func (c *Collector) verify(ctx context.Context, blobs []*need) ([]Problem, error) {
	var mu sync.Mutex
	found := map[digest.Digest]Problem{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, b := range blobs {
		g.Go(func() error {
			what, err := c.damage(ctx, b.Descriptor)
			if err != nil || what == "" {
				return err
			}
			// One of a step that no image has yet wasn't waited for to reach the
			// disk. Builds see by its size that it isn't whole, and make it again.
			short := len(b.images) == 0 && !c.Layout.HasBlob(b.Digest, b.Size)
			mu.Lock()
			defer mu.Unlock()
			found[b.Digest] = Problem{
				Kind: KindBlob, Path: c.Layout.BlobPath(b.Digest), What: what + neededBy(b.images),
				Harmless: short, digest: b.Digest, images: b.images,
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var problems []Problem
	for _, b := range blobs {
		if p, ok := found[b.Digest]; ok {
			problems = append(problems, p)
		}
	}
	return problems, nil
}

// damage says what is wrong with a blob, or nothing.
func (c *Collector) damage(ctx context.Context, d v1.Descriptor) (string, error) {
	f, err := os.Open(c.Layout.BlobPath(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return "blob is missing", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, &ending{f, ctx})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	switch {
	case err != nil:
		return fmt.Sprintf("blob can't be read: %v", err), nil
	case n != d.Size:
		return fmt.Sprintf("blob has %d bytes, not %d", n, d.Size), nil
	case digest.NewDigest(digest.SHA256, hash) != d.Digest:
		return "blob's content doesn't match its digest", nil
	}
	return "", nil
}

// ending ends reading with a context.
type ending struct {
	r   io.Reader
	ctx context.Context
}

func (e *ending) Read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(p)
}

func neededBy(images []layout.Image) string {
	if len(images) == 0 {
		return ""
	}
	names := make([]string, 0, len(images))
	for _, img := range images {
		names = append(names, nameOf(img))
	}
	return ": needed by " + strings.Join(names, ", ")
}
