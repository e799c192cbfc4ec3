package layout

import (
	"errors"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

const idPrefix = "sha256:"

// find gives the descriptor that ref means, and whether ref named the image
// itself rather than one of its names.
func (ix *index) find(ref string) (e *entry, byID bool, err error) {
	if e := ix.first(func(e *entry) bool { return ref != "" && e.refName == ref && e.id != "" }); e != nil {
		return e, false, nil
	}
	if validHex, ok := strings.CutPrefix(ref, idPrefix); ok || len(ref) == 64 && isHex(ref) {
		if !ok {
			validHex = ref
		}
		e, err := ix.findID(validHex, ref)
		return e, true, err
	}
	name, nameErr := ParseName(ref)
	if nameErr == nil {
		if e := ix.findName(name); e != nil {
			return e, e.name != name, nil
		}
	}
	if isHex(ref) {
		e, err := ix.findID(ref, ref)
		return e, true, err
	}
	if e := ix.findBroken(ref); e != nil {
		return nil, false, brokenImage(ref, e.broken)
	}
	if nameErr != nil {
		return nil, false, nameErr
	}
	return nil, false, unknown(ref)
}

// findBroken finds a descriptor that is no image, by its name or its digest.
func (ix *index) findBroken(ref string) *entry {
	if ref == "" {
		return nil
	}
	name, err := ParseName(ref)
	return ix.first(func(e *entry) bool {
		return e.broken != nil && (e.refName == ref || e.digest.String() == ref || err == nil && e.name == name)
	})
}

func brokenImage(ref string, why error) error {
	return fault.New("fetch it again:     builder pull "+ref+"\nor take it off:     builder rmi "+ref,
		"%w: %s is in index.json, but: %w", ErrUnknown, ref, why)
}

// findName finds a canonical name. One with a digest is also what any image of
// that repository is called whose manifest or index has the digest.
func (ix *index) findName(name string) *entry {
	if e := ix.first(func(e *entry) bool { return e.name == name && e.id != "" }); e != nil {
		return e
	}
	repository, suffix := splitName(name)
	want, digested := strings.CutPrefix(suffix, "@")
	if !digested {
		return nil
	}
	return ix.first(func(e *entry) bool {
		repo, _ := splitName(e.name)
		return repo == repository && e.id != "" && e.hasDigest(want)
	})
}

// findID finds an image by the beginning of its id, or by the whole digest of
// its manifest or index.
func (ix *index) findID(hex, ref string) (*entry, error) {
	if !isHex(hex) {
		return nil, unknown(ref)
	}
	prefix := idPrefix + hex
	if e := ix.first(func(e *entry) bool { return e.id != "" && e.hasDigest(prefix) }); e != nil {
		return e, nil
	}
	var found *entry
	for i := range ix.entries {
		e := &ix.entries[i]
		if !strings.HasPrefix(e.id.String(), prefix) {
			continue
		}
		if found != nil && found.id != e.id {
			return nil, ambiguous(ref, found, e)
		}
		if found == nil || found.name == "" {
			found = e
		}
	}
	if found == nil {
		return nil, unknown(ref)
	}
	return found, nil
}

func ambiguous(ref string, a, b *entry) error {
	return fault.New("write more digits of the id, or the image's name",
		"image id %s is ambiguous: it begins %s and %s", ref, a.id, b.id)
}

// hasDigest tells whether d is the digest of the manifest or the index.
func (e *entry) hasDigest(d string) bool {
	return e.digest.String() == d || strings.HasPrefix(e.manifest, d+" ")
}

func (ix *index) first(suits func(*entry) bool) *entry {
	for i := range ix.entries {
		if suits(&ix.entries[i]) {
			return &ix.entries[i]
		}
	}
	return nil
}

// name gives a name to an image, which is taken from the one that has it.
func (ix *index) name(name string, image entry) {
	if old := ix.first(func(e *entry) bool { return e.name == name }); old != nil {
		if old.sameImage(image) {
			for d := range strings.FieldsSeq(image.repoDigests) {
				ix.changed = old.noteDigest(d) || ix.changed
			}
			return
		}
		ix.unname(old)
	}
	ix.changed = true
	if e := ix.first(func(e *entry) bool { return e.nameless() && e.sameImage(image) }); e != nil {
		e.rename(name)
		e.repoDigests = image.repoDigests
		return
	}
	image.rename(name)
	ix.entries = append(ix.entries, image)
	ix.dropNameless(image)
}

// unname takes the name of e. Its image keeps a descriptor without name only
// where it has no other, and is there at all.
func (ix *index) unname(e *entry) {
	ix.changed = true
	if errors.Is(e.broken, ErrAbsent) {
		name := e.name
		ix.dropped = append(ix.dropped, e.digest)
		ix.entries = slices.DeleteFunc(ix.entries, func(e entry) bool { return e.name == name })
		return
	}
	e.loseName()
	ix.dropNameless(*e)
}

// dropNameless removes descriptors without name of an image that has others,
// and all but one of an image that has only such. One that is kept as a base
// stays.
func (ix *index) dropNameless(image entry) {
	if image.id == "" {
		return
	}
	keep := slices.IndexFunc(ix.entries, func(e entry) bool { return e.id == image.id && !e.nameless() })
	if keep < 0 {
		keep = slices.IndexFunc(ix.entries, func(e entry) bool { return e.id == image.id })
	}
	at := -1
	ix.entries = slices.DeleteFunc(ix.entries, func(e entry) bool {
		at++
		if e.id != image.id || !e.nameless() || at == keep {
			return false
		}
		ix.dropped = append(ix.dropped, e.digest)
		return true
	})
}

// nameless says that an entry isn't found by any name.
func (e *entry) nameless() bool { return e.refName == "" && e.base == "" }

// keepBase keeps an image without a name as a base. One that was kept in its
// place stays without name where it has no other.
func (ix *index) keepBase(base string, image entry) {
	ix.changed = true
	if old := ix.first(func(e *entry) bool { return e.base == base }); old != nil {
		old.base, old.dirty = "", true
		ix.dropNameless(*old)
	}
	image.base = base
	ix.entries = append(ix.entries, image)
	ix.dropNameless(image)
}

// addNameless keeps an image without giving it a name.
func (ix *index) addNameless(image entry) {
	if ix.first(func(e *entry) bool { return e.id == image.id }) == nil {
		ix.entries = append(ix.entries, image)
		ix.changed = true
	}
}

// sameImage tells whether two descriptors mean the same manifest by the same
// index.
func (e *entry) sameImage(other entry) bool {
	return e.digest == other.digest && e.manifest == other.manifest && e.id == other.id
}
