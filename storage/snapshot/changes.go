package snapshot

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/builder-oci/builder/storage/layer"
)

// Changes gives what stands in the layer of a committed tree, or ErrNotFound.
// It can be packed for as long as the tree is there.
func (s *Store) Changes(key Key) (layer.Source, error) {
	for rec := range s.records.aliases(key) {
		id := s.usable(rec)
		if id == "" {
			continue
		}
		parent, err := s.Tree(rec.Parent)
		if err != nil {
			return nil, fmt.Errorf("parent of %s: %w", key, err)
		}
		if err := s.lend(parent); err != nil {
			return nil, err
		}
		return s.changes(id, parent, ChangeOptions{})
	}
	return nil, fmt.Errorf("tree %s: %w", key, ErrNotFound)
}

// changes gives what a tree changes of its parent.
func (s *Store) changes(id string, parent *layer.Tree, options ChangeOptions) (layer.Source, error) {
	o := options.upper(s.flavor, s.exact)
	o.Unprivileged, o.Temp = s.recorded, s.records.Dir()
	if !s.exact {
		owners, err := s.owners(id)
		if err != nil {
			return nil, err
		}
		o.Owners = owners
	}
	return s.driver.changes(id, parent, o)
}

// lend keeps parents, whose descriptors a walk caches, for as long as such walks
// go on side by side, and frees those of the one before. (A tree stays usable: a
// walk that takes longer opens them again.)
func (s *Store) lend(parent *layer.Tree) error {
	s.mu.Lock()
	s.lent = append(s.lent, parent)
	var ended []*layer.Tree
	if n := len(s.lent) - runtime.GOMAXPROCS(0); n > 0 {
		ended, s.lent = s.lent[:n], slices.Clone(s.lent[n:])
	}
	s.mu.Unlock()
	return closeAll(ended)
}

func closeAll(trees []*layer.Tree) error {
	var errs []error
	for _, t := range trees {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}
