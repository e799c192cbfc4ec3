package layer

import "hash/maphash"

// pathSet is a set of very many paths: of each it keeps a hash of 64 bits, under a
// seed that nobody knows.
type pathSet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newPathSet() pathSet {
	return pathSet{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}}
}

func (s pathSet) add(path string) { s.hashes[maphash.String(s.seed, path)] = struct{}{} }

func (s pathSet) has(path string) bool {
	_, ok := s.hashes[maphash.String(s.seed, path)]
	return ok
}
