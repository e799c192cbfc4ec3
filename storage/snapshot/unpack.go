package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"

	units "github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/lock"
)

// UnpackLayer is a packed layer that is to become a tree.
type UnpackLayer struct {
	// Key is what the tree shall be known by: the chain ID up to this layer.
	Key Key
	// DiffID is the digest of the uncompressed tar, which is verified.
	DiffID digest.Digest
	// Size is the blob's, in bytes, and Blob its digest, where it is one of the store's.
	Size int64
	Blob digest.Digest
	// Image is how users know the image that the layer is of, where it is of one.
	Image string
	// Open gives the blob, compressed in any way that layer.Decompress knows.
	// It is called at most once at a time, and its result closed.
	Open func() (io.ReadCloser, error)
}

// Progress says how much of a layer has been unpacked so far.
type Progress struct {
	Layer       int   // its place in Unpack's list
	Read, Total int64 // bytes of the blob
}

// Unpack makes the trees of layers, base first, that aren't there yet. Layers
// are unpacked side by side; progress, which may be nil, is then called from
// several goroutines. Of two processes that unpack the same layers one waits
// and takes what the other has made. After an error nothing half-made is left.
func (s *Store) Unpack(ctx context.Context, layers []UnpackLayer, progress func(Progress)) error {
	for _, l := range layers {
		if err := l.validate(); err != nil {
			return err
		}
	}
	for {
		first := s.missing(layers)
		if first == len(layers) {
			return nil
		}
		if err := s.unpackFrom(ctx, layers, first, progress); err != nil {
			return err
		}
	}
}

// validate is an error where a digest isn't one: both come from an image, and
// files are called by them. A layer whose tree is there needs no DiffID.
func (l UnpackLayer) validate() error {
	if err := l.Key.Validate(); err != nil {
		return fmt.Errorf("layer %q: %w", l.Key, err)
	}
	if l.DiffID == "" {
		return nil
	}
	if err := l.DiffID.Validate(); err != nil {
		return fmt.Errorf("layer with diffID %q: %w", l.DiffID, err)
	}
	return nil
}

// from is what the record of the tree tells of the blob.
func (l UnpackLayer) from() *PackedLayer {
	if l.Blob == "" || l.DiffID == "" {
		return nil
	}
	return &PackedLayer{Key: l.Key, DiffID: l.DiffID, Blob: v1.Descriptor{Digest: l.Blob, Size: l.Size}}
}

// missing gives the place of the layer above the topmost one that has a tree.
func (s *Store) missing(layers []UnpackLayer) int {
	for i := len(layers); i > 0; i-- {
		if s.HasTree(layers[i-1].Key) {
			return i
		}
	}
	return 0
}

// unpackFrom unpacks all layers from first upward, under first's lock. It
// does nothing where another process has meanwhile made first's tree, and stops
// in peace where one was made by another way.
func (s *Store) unpackFrom(ctx context.Context, layers []UnpackLayer, first int, progress func(Progress)) (err error) {
	l, err := lock.Exclusive(ctx, filepath.Join(s.stepLocks, layers[first].Key.Encoded()))
	if err != nil {
		return err
	}
	defer l.Unlock()
	if s.missing(layers) != first {
		return nil
	}
	if err := s.hasRoomFor(layers[first:]); err != nil {
		return err
	}
	u := &unpacking{store: s, layers: layers[first:], offset: first, progress: progress}
	if first > 0 {
		u.parent = layers[first-1].Key
		if u.parentID, err = s.locate(u.parent); err != nil {
			return err
		}
	}
	if s.flavor == layer.VFS {
		err = u.inTurn(ctx)
	} else {
		err = u.sideBySide(ctx)
	}
	if err == nil {
		err = u.publish()
	}
	return errors.Join(err, u.discard())
}

// unpacking is the trees of one run of unpackFrom.
type unpacking struct {
	store    *Store
	layers   []UnpackLayer
	offset   int // of layers in the caller's list
	parent   Key // below the first layer
	parentID string
	progress func(Progress)

	trees []unpacked
}

// unpacked is one new tree.
type unpacked struct {
	id      string
	pending *layer.Pending // what only the layers below can tell
	owners  *layer.Owners
	settled bool
}

// below gives the id of the tree that the i-th one stands on.
func (u *unpacking) below(i int) string {
	if i == 0 {
		return u.parentID
	}
	return u.trees[i-1].id
}

// add makes the next tree, still without its layer's files.
func (u *unpacking) add(ctx context.Context) error {
	below := u.below(len(u.trees))
	owners, err := u.store.inherited(below)
	if err != nil {
		return err
	}
	id, err := u.store.make(ctx, below)
	if err != nil {
		return err
	}
	u.trees = append(u.trees, unpacked{id: id, owners: owners})
	return nil
}

// sideBySide fills all upper directories at once: only the directories that
// the tars lack need what lies below.
func (u *unpacking) sideBySide(ctx context.Context) error {
	for range u.layers {
		if err := u.add(ctx); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for i := range u.layers {
		g.Go(func() error { return u.fill(gctx, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range u.layers {
		if err := u.complete(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// inTurn unpacks each layer over a copy of the one below.
func (u *unpacking) inTurn(ctx context.Context) error {
	for i := range u.layers {
		if err := u.add(ctx); err != nil {
			return err
		}
		if err := u.fill(ctx, i); err != nil {
			return err
		}
		if err := u.complete(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// fill writes the i-th layer's files, and verifies what was read.
func (u *unpacking) fill(ctx context.Context, i int) (err error) {
	l, t := &u.layers[i], &u.trees[i]
	defer func() {
		if err != nil {
			err = fmt.Errorf("unpack %s: %w", l.name(), err)
		}
	}()
	blob, err := l.Open()
	if err != nil {
		return err
	}
	defer blob.Close()
	counted := &meter{r: blob, ctx: ctx, report: func(n int64) {
		if u.progress != nil {
			u.progress(Progress{Layer: u.offset + i, Read: n, Total: l.Size})
		}
	}}
	tar, _, err := layer.Decompress(counted)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tar.Close()) }()
	verifier := digest.SHA256.Digester()
	most := mostUnpacked(l.Size)
	read := io.TeeReader(&bounded{tar, most}, verifier.Hash())
	s := u.store
	o := s.dirOptions(t.owners)
	o.Most = most
	if t.pending, err = layer.Unpack(ctx, read, s.driver.top(t.id), o); err != nil {
		return explainBomb(err, l.Size)
	}
	// The tar's reader stops at its end mark; the digest is of the padding too.
	if _, err := io.Copy(io.Discard, read); err != nil {
		return explainBomb(err, l.Size)
	}
	if got := verifier.Digest(); got != l.DiffID {
		return fault.New("remove the image and pull it again: builder rmi IMAGE; builder pull IMAGE\n"+
			"if it stays so, whoever keeps the image has to push it again",
			"it isn't what the image's config says: its content has the digest %s", got)
	}
	return nil
}

// name is how errors name the layer.
func (l UnpackLayer) name() string {
	if l.Image == "" {
		return "layer " + l.DiffID.String()
	}
	return fmt.Sprintf("layer %s of %s", l.DiffID, l.Image)
}

// mostUnpacked is how many bytes may come of a blob: as many times its own as
// gzip can make of nothing but zeros, or what a disk can be expected to hold. What
// makes more of it was made to do harm.
func mostUnpacked(blob int64) int64 {
	const gzipMost, anyway = 1100, 16 << 30
	return max(gzipMost*min(blob, math.MaxInt64/gzipMost), anyway)
}

// explainBomb tells what is known of a layer that is too large for its blob.
func explainBomb(err error, blob int64) error {
	if !errors.Is(err, layer.ErrTooLarge) {
		return err
	}
	return fault.New("don't use the image: it was made to fill disks",
		"its %s unpack to more than %s", units.HumanSize(float64(blob)), units.HumanSize(float64(mostUnpacked(blob))))
}

// bounded reads so many bytes, and is layer.ErrTooLarge where there are more.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, layer.ErrTooLarge
	}
	return n, err
}

// complete takes from the layers below what the i-th tar lacks, once they are
// complete themselves.
func (u *unpacking) complete(ctx context.Context, i int) error {
	s, t := u.store, &u.trees[i]
	lower, err := s.view(u.below(i))
	if err != nil {
		return err
	}
	top := s.driver.top(t.id)
	err = layer.FixImplied(ctx, top, lower, t.pending, s.dirOptions(t.owners))
	if err = errors.Join(err, lower.Close()); err != nil {
		return fmt.Errorf("complete layer %s: %w", u.layers[i].DiffID, err)
	}
	if s.exact {
		return nil
	}
	return s.saveOwners(t.id, t.owners)
}

// publish records the trees, base first. Where one of them is there already
// the rest stands on the wrong one: they are given up, and Unpack starts again
// from there.
func (u *unpacking) publish() error {
	parent := u.parent
	for i := range u.trees {
		key := u.layers[i].Key
		published, err := u.store.publish(key, parent, u.trees[i].id, u.layers[i].from())
		if err != nil || published != u.trees[i].id {
			return err
		}
		u.trees[i].settled = true
		parent = key
	}
	return nil
}

// discard removes what wasn't published, the top first, and what is needed for no
// longer than it takes to complete the trees.
func (u *unpacking) discard() error {
	var errs []error
	for i := range slices.Backward(u.trees) {
		t := &u.trees[i]
		errs = append(errs, t.pending.Close(), t.owners.Close())
		if !t.settled {
			errs = append(errs, u.store.remove(t.id))
		}
	}
	return errors.Join(errs...)
}

// meter reports how much was read, and ends reading with the context.
type meter struct {
	r      io.Reader
	ctx    context.Context
	read   int64
	report func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.read += int64(n)
	m.report(m.read)
	return n, err
}
