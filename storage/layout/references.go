package layout

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// references gives the names of an image, sorted: its tags, and the digests by
// which its repositories know it, as docker.io/library/nginx@sha256:….
func (ix *index) references(id digest.Digest) []string {
	var names []string
	for i := range ix.entries {
		if e := &ix.entries[i]; e.id == id && e.name != "" {
			names = append(names, e.name)
			names = append(names, e.digestNames()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// digestNames gives the names by digest that e's repository has for it.
func (e *entry) digestNames() []string {
	repository, _ := splitName(e.name)
	digests := strings.Fields(e.repoDigests)
	for i, d := range digests {
		digests[i] = repository + "@" + d
	}
	return digests
}

// noteDigest notes that the repository of e knows it by d, and reports whether
// that is news.
func (e *entry) noteDigest(d string) bool {
	if slices.Contains(strings.Fields(e.repoDigests), d) {
		return false
	}
	e.repoDigests, e.dirty = strings.TrimSpace(e.repoDigests+" "+d), true
	return true
}

// forgetDigests takes names by digest from an image. Those of a tag that goes
// are handed to another one of its repository.
func (ix *index) forgetDigests(id digest.Digest, taken []string) {
	kept := ix.references(id)
	for i := range ix.entries {
		e := &ix.entries[i]
		if e.id != id || e.name == "" || !isTag(e.name) {
			continue
		}
		repository, _ := splitName(e.name)
		var digests []string
		for _, name := range kept {
			d, ours := strings.CutPrefix(name, repository+"@")
			if ours && !slices.Contains(taken, name) {
				digests = append(digests, d)
			}
		}
		if text := strings.Join(digests, " "); text != e.repoDigests {
			e.repoDigests, e.dirty = text, true
			ix.changed = true
		}
	}
}

// keepNameless takes all names from an image that stays.
func (ix *index) keepNameless(id digest.Digest) {
	var image entry
	for i := range ix.entries {
		if e := &ix.entries[i]; e.id == id && e.name != "" {
			e.loseName()
			image = *e
		}
	}
	ix.changed = true
	ix.dropNameless(image)
}

// isOneTag tells whether names is one name, or one tag along with digests of the
// same repository.
func isOneTag(names []string) bool {
	tags := 0
	for _, name := range names {
		if isTag(name) {
			tags++
		}
		if !sameRepository(name, names[0]) {
			return false
		}
	}
	return len(names) > 0 && tags <= 1
}

// withDigests gives the names that go with name: along with the last tag of a
// repository its digests.
func withDigests(name string, names []string) []string {
	taken := []string{name}
	if !isTag(name) {
		return taken
	}
	for _, other := range names {
		if other == name || !sameRepository(other, name) {
			continue
		}
		if isTag(other) {
			return []string{name}
		}
		taken = append(taken, other)
	}
	return taken
}

// isTag tells a name with a tag from one by a digest.
func isTag(name string) bool { return !strings.Contains(name, "@") }

func sameRepository(a, b string) bool {
	ra, _ := splitName(a)
	rb, _ := splitName(b)
	return ra == rb
}
