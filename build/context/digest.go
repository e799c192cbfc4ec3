package context

import (
	"context"
	"crypto/sha256"
	"hash"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// readBuffer is how much of a file is read at once; most files of a source
// tree fit.
const readBuffer = 128 << 10

// Digest gives the sha256 of a plain file's content, from the cache where its
// stat data have not changed. A file that changes while it is read is a
// *fault.Error.
func (d *Dir) Digest(ctx context.Context, e *Entry) (digest.Digest, error) {
	if dgst, ok := d.known(e); ok {
		return dgst, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	h, _ := hashers.Get().(*hasher)
	defer hashers.Put(h)
	return d.read(h, e)
}

// Digests gives Digest for each of the entries, reading several at once; ""
// for those that are no plain files.
func (d *Dir) Digests(ctx context.Context, entries []*Entry) ([]digest.Digest, error) {
	digests := make([]digest.Digest, len(entries))
	var unknown []int
	for i, e := range entries {
		if !e.IsRegular() {
			continue
		}
		var ok bool
		if digests[i], ok = d.known(e); !ok {
			unknown = append(unknown, i)
		}
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(len(unknown), runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			h, _ := hashers.Get().(*hasher)
			defer hashers.Put(h)
			for {
				at := int(next.Add(1)) - 1
				if at >= len(unknown) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				var err error
				if digests[unknown[at]], err = d.read(h, entries[unknown[at]]); err != nil {
					return err
				}
			}
		})
	}
	return digests, group.Wait()
}

// known asks the cache.
func (d *Dir) known(e *Entry) (digest.Digest, bool) {
	if d.digests == nil {
		return "", false
	}
	return d.digests.Get(e.Path, e.Stat.Full())
}

// hasher is what reading one file needs; reused, because most files are small.
type hasher struct {
	hash hash.Hash
	buf  []byte
	sum  []byte
}

// hashers are shared by all contexts.
var hashers = sync.Pool{New: func() any {
	return &hasher{hash: sha256.New(), buf: make([]byte, readBuffer)}
}}

// read digests a file's content and tells the cache.
func (d *Dir) read(h *hasher, e *Entry) (digest.Digest, error) {
	if e.IsSocket() {
		return digest.FromBytes(nil), nil
	}
	fd, err := d.openPath(e.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return "", d.unreadable(e.Path, err)
	}
	defer closeFD(fd)
	h.hash.Reset()
	for {
		n, err := unix.Read(fd, h.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &os.PathError{Op: "read", Path: e.Path, Err: err}
		}
		_, _ = h.hash.Write(h.buf[:n]) // never fails
		if n < len(h.buf) {
			break // a plain file gives less than asked for only at its end
		}
	}
	if err := sameFile(e, fd); err != nil {
		return "", err
	}
	h.sum = h.hash.Sum(h.sum[:0])
	dgst := digest.NewDigestFromBytes(digest.SHA256, h.sum)
	if d.digests != nil {
		d.digests.Put(e.Path, e.Stat.Full(), dgst)
	}
	return dgst, nil
}
