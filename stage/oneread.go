package stage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	digest "github.com/opencontainers/go-digest"

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
	passing := newPassing(sel, sel.meter(r))
	result := resultOf(digest.FromString(in.Instruction))
	if err := r.lease(result); err != nil {
		return err
	}
	if err := r.inSlot(ctx, at, func() error { return in.pack(ctx, r, st, sel, tree, result) }); err != nil {
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
	Remember(e *layer.Entry, d digest.Digest)
}

// passing collects the digests of contents that are read for another purpose.
type passing struct {
	mu   sync.Mutex
	sums map[*layer.Entry][sha256.Size]byte
}

// newPassing makes the selection's files digest themselves when they are read
// to their end. The meter, which may be nil, is told of what is read: there may be
// very many files, and so they are wrapped but once.
func newPassing(sel *selection, meter *copyMeter) *passing {
	p := &passing{sums: make(map[*layer.Entry][sha256.Size]byte, sel.count())}
	for i := range sel.items {
		for _, e := range sel.items[i].entries {
			if e.Type != tar.TypeReg {
				continue
			}
			open := e.Open
			e.Open = func() (io.ReadCloser, error) {
				f, err := open()
				if err != nil {
					return nil, err
				}
				return &digestingFile{ReadCloser: f, h: sha256.New(), left: e.Size, meter: meter, done: func(sum [sha256.Size]byte) {
					p.mu.Lock()
					defer p.mu.Unlock()
					p.sums[e] = sum
				}}, nil
			}
		}
	}
	return p
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
	digests := make([][]digest.Digest, len(sel.items))
	for i := range sel.items {
		entries := sel.items[i].entries
		digests[i] = make([]digest.Digest, len(entries))
		for k, e := range entries {
			if e.Type != tar.TypeReg {
				continue
			}
			d, err := p.digest(ctx, e)
			if err != nil {
				return err
			}
			digests[i][k] = d
			if keeper, can := sel.items[i].files.(Rememberer); can {
				keeper.Remember(e, d)
			}
		}
	}
	sel.digests = digests
	return nil
}

// digest gives the digest of a file, which it reads where nobody else has.
func (p *passing) digest(ctx context.Context, e *layer.Entry) (digest.Digest, error) {
	if sum, ok := p.sums[e]; ok {
		return digest.NewDigestFromBytes(digest.SHA256, sum[:]), nil
	}
	read, err := digestAll(ctx, []*layer.Entry{e})
	if err != nil {
		return "", err
	}
	return read[0], nil
}
