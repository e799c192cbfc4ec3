package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
)

// A Removal is one line of what Remove did: a name was taken, or an image went
// with its last name.
type Removal struct {
	Untagged string        // as docker shows it; "" where Deleted is set
	Deleted  digest.Digest // the image's id
}

// Remove takes the name ref, and with its last name the image, as docker's rmi
// does: an image that is meant by its id must have one name only (a name's
// digests don't count), or force.
//
// It also gives the digests of the blobs that nothing in index.json leads to
// any more. They are still there: the caller decides which of them others use,
// and hands the rest to DeleteBlobs.
func (l *Layout) Remove(ctx context.Context, ref string, force bool) ([]Removal, []digest.Digest, error) {
	var done []Removal
	var freed []digest.Digest
	err := l.change(ctx, func(ix *index) error {
		found, byID, err := ix.find(ref)
		if err != nil {
			return asDocker(err)
		}
		taken, err := ix.namesToTake(found, byID, force)
		if err != nil {
			return err
		}
		for _, name := range taken {
			done = append(done, Removal{Untagged: Familiar(name)})
		}
		whole := len(taken) == len(ix.names(found))
		if whole {
			done = append(done, Removal{Deleted: found.id})
		}
		freed = l.removeEntries(ix, found.id, func(e *entry) bool { return whole || slices.Contains(taken, e.name) })
		return nil
	})
	if err != nil {
		return nil, nil, l.notRemoved(ref, err)
	}
	return done, freed, nil
}

// namesToTake are the names that go when e is removed.
func (ix *index) namesToTake(e *entry, byID, force bool) ([]string, error) {
	names := ix.names(e)
	if byID {
		if len(names) > 1 && !force && !oneReference(names) {
			return nil, inUse(e, names)
		}
		return names, nil
	}
	rest := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == e.name })
	if len(rest) > 0 && onlyDigests(e.name, rest) {
		return names, nil
	}
	return []string{e.name}, nil
}

// oneReference tells whether names is one tag, along with digests of the same
// repository.
func oneReference(names []string) bool {
	tags := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.Contains(n, "@") })
	return len(tags) == 1 && onlyDigests(tags[0], slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == tags[0] }))
}

// onlyDigests tells whether rest is nothing but digests of name's repository:
// those go with its last tag.
func onlyDigests(name string, rest []string) bool {
	repository, _ := splitName(name)
	for _, other := range rest {
		if !strings.HasPrefix(other, repository+"@") {
			return false
		}
	}
	return true
}

func inUse(e *entry, names []string) error {
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = Familiar(name)
	}
	return &fault.Error{
		Err: fmt.Errorf("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories",
			e.digest.Encoded()[:ofLen]),
		Remedy: "remove its names: builder rmi " + strings.Join(shown, " ") + "\nor all at once:  builder rmi -f " + e.id.Encoded()[:ofLen],
		Code:   1, // as docker has it
	}
}

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

// NoteFree appends digests to the list of blobs that nobody needs, as far as the
// caller knows: others may be about to name them, so that they are left to
// whoever is alone with the layout. A few bytes are appended in one piece; no
// lock is needed.
func (l *Layout) NoteFree(digests []digest.Digest) error {
	f, err := os.OpenFile(l.freedFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("note what is free: %w", err)
	}
	var text strings.Builder
	for _, d := range digests {
		fmt.Fprintln(&text, d)
	}
	_, err = f.WriteString(text.String())
	return errors.Join(err, f.Close())
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
	var freed int64
	err := l.change(ctx, func(ix *index) error {
		for _, d := range l.unreferenced(ix, setOf(digests)) {
			size, err := removeFile(l.BlobPath(d))
			if err != nil {
				return err
			}
			freed += size
		}
		return nil
	})
	return freed, err
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
