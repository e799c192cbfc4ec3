package snapshot

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
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/lock"
)

// ErrNotFound says that there is no record of a key, or no tree.
var ErrNotFound = errors.New("no such snapshot")

// errNoChange ends an update that has nothing to write.
var errNoChange = errors.New("no change")

// Key names a tree: the chain ID of an image's layers, or a step's key. ""
// is scratch, the empty tree below every first layer.
type Key = digest.Digest

// Record says where the tree of a key is to be found, and which blobs its
// layer has been packed into.
type Record struct {
	Key Key `json:"key"`
	// Parent is the tree below, "" for scratch.
	Parent Key `json:"parent,omitempty"`
	// Alias is another key with the very same tree and layer: of a chain ID, the
	// step that made it.
	Alias Key `json:"alias,omitempty"`
	// Trees has the tree by the name of the driver root that holds it.
	Trees    map[string]TreeRef `json:"trees,omitempty"`
	Packings []Packing          `json:"packings,omitempty"`
	// From is the blob that the tree was unpacked from, of a tree that was.
	From *PackedLayer `json:"from,omitempty"`
}

// TreeRef is a tree in a driver root.
type TreeRef struct {
	// ID is the driver's name of the layer.
	ID string `json:"id"`
	// Boot is the kernel's boot id when the tree was made. It counts in that boot
	// only: a power failure may have torn it.
	Boot string `json:"boot"`
	// Created is when the tree was recorded.
	Created time.Time `json:"created"`
}

// Counts reports whether the tree can be relied on in the boot with this id.
func (t TreeRef) Counts(boot string) bool { return t.Boot == boot }

// Packing is a blob that a layer was packed into. The fields before DiffID
// decide its bytes.
type Packing struct {
	Time        layer.TimeRule    `json:"time"`
	Compression layer.Compression `json:"compression"`
	Level       int               `json:"level"`
	// Packer is the version of the code that wrote tar and compression, "" for
	// a blob that was pulled.
	Packer string `json:"packer,omitempty"`
	// Exact says that owners are the true ones (see Options.ExactOwners).
	Exact  bool          `json:"exact"`
	DiffID digest.Digest `json:"diffID"`
	Blob   v1.Descriptor `json:"blob"`
}

// sameBytes reports whether two packings of one layer are the same blob.
func (p Packing) sameBytes(q Packing) bool {
	return p.Time == q.Time && p.Compression == q.Compression && p.Level == q.Level &&
		p.Packer == q.Packer && p.Exact == q.Exact
}

// Records are the files that say which trees and packings there are. They can
// be read without the user namespace that the trees themselves need, and by
// any number of processes at once. Changes are made under the lock file, one
// at a time.
type Records struct {
	dir      string
	lockFile string
}

// OpenRecords gives the records in dir, which is there.
func OpenRecords(dir, lockFile string) *Records {
	return &Records{dir: dir, lockFile: lockFile}
}

// Get gives the record of key, or ErrNotFound. A torn one counts as absent.
func (r *Records) Get(key Key) (*Record, error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(r.Path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	rec := new(Record)
	if json.Unmarshal(data, rec) != nil || rec.Key != key {
		return nil, fmt.Errorf("record of %s is unreadable: %w", key, ErrNotFound)
	}
	return rec, nil
}

// Packing gives the packing of key's layer whose bytes would be those that want
// describes; want's DiffID and Blob don't matter. Whether the blob is still
// there is for the caller to see.
func (r *Records) Packing(key Key, want Packing) (Packing, bool) {
	for rec := range r.aliases(key) {
		i := slices.IndexFunc(rec.Packings, want.sameBytes)
		if i >= 0 {
			return rec.Packings[i], true
		}
	}
	return Packing{}, false
}

// PackedLayer is a layer as it was packed, with the key of the tree that it makes.
type PackedLayer struct {
	Key    Key           `json:"key"`
	DiffID digest.Digest `json:"diffID"`
	Blob   v1.Descriptor `json:"blob"`
}

// Layers gives the layers that key's tree can be unpacked from, base first, or
// ErrNotFound where it isn't known what one was packed into. Whether the blobs are
// still there is for the caller to see.
func (r *Records) Layers(key Key) ([]PackedLayer, error) {
	var layers []PackedLayer
	seen := map[Key]bool{}
	for key != "" && !seen[key] {
		seen[key] = true
		l := PackedLayer{Key: key}
		var parent Key
		for rec := range r.aliases(key) {
			if from := rec.packed(); from != nil && l.DiffID == "" {
				l.DiffID, l.Blob = from.DiffID, from.Blob
			}
			if parent == "" {
				parent = rec.Parent
			}
		}
		if l.DiffID == "" {
			return nil, fmt.Errorf("packed layer of %s: %w", key, ErrNotFound)
		}
		layers = append(layers, l)
		key = parent
	}
	slices.Reverse(layers)
	return layers, nil
}

// packed is the layer that the record's tree can be unpacked from, nil if none is
// known.
func (rec *Record) packed() *PackedLayer {
	if rec.From != nil {
		return rec.From
	}
	if len(rec.Packings) == 0 {
		return nil
	}
	return &PackedLayer{Key: rec.Key, DiffID: rec.Packings[0].DiffID, Blob: rec.Packings[0].Blob}
}

// AddPacking records a blob of key's layer, in place of one that was packed the
// same way.
func (r *Records) AddPacking(key Key, p Packing) error {
	return r.update(key, func(rec *Record) error {
		rec.Packings = append(slices.DeleteFunc(rec.Packings, p.sameBytes), p)
		return nil
	})
}

// LinkChain records that chain, a chain ID, names the tree that step has
// made. So what has just been made is never unpacked again.
func (r *Records) LinkChain(chain, step Key) error {
	if chain == step {
		return nil
	}
	if rec, err := r.Get(chain); err == nil && rec.Alias == step {
		return nil
	}
	return r.update(chain, func(rec *Record) error {
		rec.Alias = step
		return nil
	})
}

// DropTree forgets that a driver root holds the tree of key, if the record still
// names the one with this id. The tree itself stays.
func (r *Records) DropTree(key Key, root, id string) error {
	return r.update(key, func(rec *Record) error {
		if rec.Trees[root].ID != id {
			return errNoChange
		}
		delete(rec.Trees, root)
		return nil
	})
}

// Path is the file of a key's record.
func (r *Records) Path(key Key) string { return filepath.Join(r.dir, key.Encoded()) }

// Dir is the directory of the records.
func (r *Records) Dir() string { return r.dir }

// Remove forgets a key. Its trees stay.
func (r *Records) Remove(key Key) error {
	if err := key.Validate(); err != nil {
		return err
	}
	if err := os.Remove(r.Path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Keys gives the key of every record, readable or not.
func (r *Records) Keys() ([]Key, error) {
	names, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(names))
	for _, name := range names {
		if !strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			keys = append(keys, digest.NewDigestFromEncoded(digest.SHA256, name.Name()))
		}
	}
	return keys, nil
}

// Sync puts the records of these keys on stable storage, as must be before
// index.json names an image made of them.
func (r *Records) Sync(ctx context.Context, keys ...Key) error {
	paths := make([]string, 0, len(keys))
	for _, key := range keys {
		if key.Validate() == nil {
			paths = append(paths, r.Path(key))
		}
	}
	if err := atomicfile.Sync(ctx, paths); err != nil {
		return fmt.Errorf("sync records: %w", err)
	}
	return nil
}

// longestAlias bounds the walk over aliases: a chain ID leads to a step, and
// that to no further one.
const longestAlias = 4

// aliases gives the record of key and those that it is an alias of.
func (r *Records) aliases(key Key) func(yield func(*Record) bool) {
	return func(yield func(*Record) bool) {
		for range longestAlias {
			rec, err := r.Get(key)
			if err != nil || !yield(rec) || rec.Alias == "" {
				return
			}
			key = rec.Alias
		}
	}
}

// update changes the record of key, a fresh one where there is none, and
// replaces it by rename.
func (r *Records) update(key Key, change func(*Record) error) error {
	l, err := lock.Exclusive(context.Background(), r.lockFile)
	if err != nil {
		return err
	}
	defer l.Unlock()
	rec, err := r.Get(key)
	if errors.Is(err, ErrNotFound) {
		rec, err = &Record{Key: key}, nil
	}
	if err != nil {
		return err
	}
	if err := change(rec); err != nil {
		if errors.Is(err, errNoChange) {
			return nil
		}
		return err
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteUnsynced(r.Path(key), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("record the snapshot: %w", err)
	}
	return nil
}
