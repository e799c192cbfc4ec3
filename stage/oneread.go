package stage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
)

// inOneRead packs entries straight into a blob and digests their contents as
// they pass by. The step's key is known only afterwards. A miss was certain for
// this instruction, but another that copies the same may have been executed, or
// another build may just have done so: then that result counts.
func (in Copy) inOneRead(ctx context.Context, r *Runner, st *State, at Step, sel *selection, selectors []cache.Input, parent cache.Input) error {
	if err := r.EnsureTree(ctx, st); err != nil {
		return err
	}
	tree, err := r.Snapshots.Tree(st.Tree)
	if err != nil {
		return err
	}
	defer tree.Close()
	passing := &passing{sums: spool.NewTable(sel.temp), meter: sel.meter(r)}
	result := resultOf(digest.FromString(in.Instruction))
	if err := r.lease(result); err != nil {
		return err
	}
	if err := r.inSlot(ctx, at, func() error { return in.pack(ctx, r, st, sel, tree, result, passing.watch) }); err != nil {
		return err
	}
	if err := passing.settle(ctx, sel); err != nil {
		return err
	}
	content, err := sel.digest(ctx)
	if err != nil {
		return err
	}
	st.define("copy", append(selectors, cache.Input{Name: "content", Value: content.String()}))
	j := in.job(r, st, sel, parent, content)
	key := keyOf(j.kind, j.inputs)
	unlock, err := r.lockStep(ctx, at, key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.lease(key); err != nil {
		return err
	}
	if r.adoptKnown(st, at, j) {
		return r.Records.Remove(result) // its blob is the same, or nobody's
	}
	r.explain(at, j, key)
	return r.record(st, at, j, key, result)
}

// Rememberer is a source that keeps digests which others worked out.
type Rememberer interface {
	Remember(f *File, d digest.Digest)
}

// passing collects the digests of contents that are read for another purpose.
type passing struct {
	meter *copyMeter // may be nil

	mu     sync.Mutex
	sums   *spool.Table
	failed error
}

// watch makes a file digest itself when it is read to its end. The meter is told
// of what is read.
func (p *passing) watch(f *File, e *layer.Entry) {
	if e.Open == nil {
		return
	}
	open, place, size := e.Open, f.place, e.Size
	e.Open = func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		return &digestingFile{ReadCloser: r, h: sha256.New(), left: size, meter: p.meter, done: func(sum [sha256.Size]byte) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = errors.Join(p.failed, p.sums.Set(place, sum))
		}}, nil
	}
}

// digestingFile digests what is read from it.
type digestingFile struct {
	io.ReadCloser
	h     hash.Hash
	left  int64
	meter *copyMeter
	done  func(sum [sha256.Size]byte)
}

func (f *digestingFile) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	f.h.Write(p[:n])
	f.meter.add(n)
	f.left -= int64(n)
	if f.left == 0 && n > 0 {
		f.done([sha256.Size]byte(f.h.Sum(nil)))
	}
	return n, err
}

// ReadAt reads what isn't to be digested.
func (f *digestingFile) ReadAt(p []byte, at int64) (int, error) { return readAt(f.ReadCloser, p, at) }

// settle gives the selection its digests, reading what wasn't read, such as
// files that the parent's tree holds already.
func (p *passing) settle(ctx context.Context, sel *selection) error {
	if p.failed != nil {
		return p.failed
	}
	sel.digests = p.sums
	for i := range sel.items {
		it := &sel.items[i]
		err := sel.each(ctx, it, func(f *File) error {
			if f.Type != tar.TypeReg {
				return nil
			}
			d, err := sel.digestOf(f)
			if err == nil && d == "" {
				if err = sel.digestFiles(ctx, it, []*File{f}); err == nil {
					d, err = sel.digestOf(f)
				}
			}
			if err != nil {
				return err
			}
			if keeper, can := it.files.(Rememberer); can {
				keeper.Remember(f, d)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
