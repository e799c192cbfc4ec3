package stage

import (
	"archive/tar"
	"context"
	"errors"
	"hash"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/storage/cache"
)

// Remote is what an ADD takes from elsewhere. What it is now is known before it
// is here.
type Remote interface {
	// Identity says on one line which files these are: those with the same
	// identity are the same, whatever their address. It is ErrNamespace where
	// that can't be told without fetching them, and they can't be.
	Identity(ctx context.Context) (string, error)
	// Fetch brings the files, and says which of them is meant.
	Fetch(ctx context.Context) (Files, Match, error)
}

// remoteItem is a source of which only the identity is known.
func remoteItem(ctx context.Context, address string, r Remote) (item, error) {
	identity, err := r.Identity(ctx)
	return item{source: source{name: address}, remote: r, identity: identity}, err
}

// digestRemote digests what an item that isn't here will be.
func (s *selection) digestRemote(h hash.Hash, it *item) {
	writeField(h, "remote")
	writeField(h, it.identity)
	writeField(h, s.in.Chmod)
	writeField(h, strconv.Itoa(len(s.in.Exclude)))
	for _, pattern := range s.in.Exclude {
		writeField(h, pattern)
	}
}

// inputRemote is digestRemote in readable form.
func (s *selection) inputRemote(it *item) cache.Input {
	words := []string{it.identity}
	if s.in.Chmod != "" {
		words = append(words, "--chmod="+s.in.Chmod)
	}
	for _, pattern := range s.in.Exclude {
		words = append(words, "--exclude="+pattern)
	}
	return cache.Input{Name: "remote", Value: strings.Join(words, " ")}
}

// fetch brings the items that aren't here yet. It is called where the
// instruction is executed, and does nothing when called again.
func (s *selection) fetch(ctx context.Context) error {
	f, err := s.filter()
	if err != nil {
		return err
	}
	for i := range s.items {
		it := &s.items[i]
		if it.remote == nil || it.files != nil {
			continue
		}
		files, m, err := it.remote.Fetch(ctx)
		if err != nil {
			return err
		}
		it.files, it.name, it.base = files, m.Name, m.Path
		it.from, it.within, it.filter = m.Path, true, f
		if err := s.list(ctx, it); err != nil {
			return err
		}
		if it.top == nil {
			return errors.New("what was fetched has vanished")
		}
		it.excluded = it.top.Type != tar.TypeDir && it.count == 0
	}
	return nil
}
