package layout

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
)

// removeEntries removes the descriptors of an image that go says, and gives the
// blobs that nothing leads to any more.
func (l *Layout) removeEntries(ix *index, id digest.Digest, goes func(*entry) bool) []digest.Digest {
	candidates := map[digest.Digest]bool{}
	ix.entries = slices.DeleteFunc(ix.entries, func(e entry) bool {
		if e.id != id || !goes(&e) {
			return false
		}
		reached, _ := l.reach(e.digest) // what can't be found now is found by the daily clean-up
		maps.Copy(candidates, reached)
		return true
	})
	ix.changed = true
	return l.unreferenced(ix, candidates)
}

// unreferenced gives those of candidates that nothing in ix leads to, sorted:
// none where that can't be told.
// The beginnings of digests in the annotations say which manifests must be
// read: a few, at ten thousand images too.
func (l *Layout) unreferenced(ix *index, candidates map[digest.Digest]bool) []digest.Digest {
	open := make(map[string]int, len(candidates)) // how many that begin so aren't found used
	for d := range candidates {
		open[shortBlob(d)]++
	}
	used := map[digest.Digest]bool{}
	for i := range ix.entries {
		e := &ix.entries[i]
		if len(open) == 0 {
			break
		}
		if e.known() && !e.mayUse(open) {
			continue
		}
		reached, err := l.reach(e.digest)
		if err != nil {
			return nil // it may need any of them
		}
		for d := range reached {
			if !candidates[d] || used[d] {
				continue
			}
			used[d] = true
			short := shortBlob(d)
			if open[short]--; open[short] == 0 {
				delete(open, short)
			}
		}
	}
	var free []digest.Digest
	for d := range candidates {
		if !used[d] && l.HasBlob(d, -1) {
			free = append(free, d)
		}
	}
	slices.Sort(free)
	return free
}

// mayUse tells whether e, which is known, leads to a blob whose digest begins as
// one in open.
func (e *entry) mayUse(open map[string]int) bool {
	if open[e.of[:blobLen]] > 0 { // the digest's beginning, as e is known
		return true
	}
	for rest := e.blobs; len(rest) >= blobLen; rest = rest[blobLen:] {
		if open[rest[:blobLen]] > 0 {
			return true
		}
	}
	return false
}

// Unreferenced gives those of digests that are there though nothing in
// index.json leads to them, sorted.
func (l *Layout) Unreferenced(digests []digest.Digest) ([]digest.Digest, error) {
	ix, err := l.read()
	if err != nil {
		return nil, err
	}
	return l.unreferenced(ix, setOf(digests)), nil
}

func setOf(digests []digest.Digest) map[digest.Digest]bool {
	set := make(map[digest.Digest]bool, len(digests))
	for _, d := range digests {
		set[d] = true
	}
	return set
}

// DeleteBlobs removes those of digests that nothing in index.json leads to at
// this moment: another process may have named one of them since Remove. It
// gives the bytes that were set free.
func (l *Layout) DeleteBlobs(ctx context.Context, digests []digest.Digest) (int64, error) {
	if len(digests) == 0 {
		return 0, nil
	}
	var freed int64
	err := l.change(ctx, func(ix *index) (err error) {
		freed, err = l.deleteFiles(l.unreferenced(ix, setOf(digests)))
		return err
	})
	return freed, err
}

func (l *Layout) deleteFiles(digests []digest.Digest) (freed int64, err error) {
	for _, d := range digests {
		size, err := removeFile(l.BlobPath(d))
		if err != nil {
			return freed, err
		}
		freed += size
	}
	return freed, nil
}

func removeFile(path string) (size int64, err error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return st.Size(), os.Remove(path)
}
