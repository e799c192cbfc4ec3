package layer

import "github.com/builder-oci/builder/internal/spool"

// pathSet is a set of very many paths, which is kept out of memory.
type pathSet struct{ index *spool.Index }

func newPathSet(temp string) pathSet { return pathSet{spool.NewIndex(temp)} }

func (s pathSet) has(path string) (bool, error) {
	_, ok, err := s.index.Get(spool.TextKey(0, path))
	return ok, err
}

// add adds a path, and says whether it was there.
func (s pathSet) add(path string) (known bool, err error) {
	known, err = s.has(path)
	if err != nil || known {
		return known, err
	}
	return false, s.index.Set(spool.TextKey(0, path), 0)
}

func (s pathSet) close() { _ = s.index.Close() } // nobody reads it any more
