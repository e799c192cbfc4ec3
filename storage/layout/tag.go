package layout

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
)

// ErrNoTag is behind the error about a name that an image doesn't have.
var ErrNoTag = errors.New("tag not known")

// Tag gives the image that src means further names, all or none.
func (l *Layout) Tag(ctx context.Context, src string, names ...string) error {
	canonical := make([]string, len(names))
	for i, text := range names {
		var err error
		if canonical[i], err = parseTag(text); err != nil {
			return asDocker(err)
		}
	}
	err := l.change(ctx, func(ix *index) error {
		found, _, err := ix.find(src)
		if err != nil {
			return asDocker(err)
		}
		named := *found
		if named.base != "" {
			named.base, named.dirty = "", true
		}
		for _, name := range canonical {
			named := named
			if !sameRepository(named.name, name) {
				named.repoDigests = ""
			}
			ix.name(name, named)
		}
		return nil
	})
	if !errors.Is(err, ErrUnknown) {
		return err
	}
	img, err := l.findBeyond(src, err)
	if err != nil {
		return asDocker(err)
	}
	return l.Commit(ctx, names, img.Manifest, img.Index)
}

// parseTag is ParseName for a name that is to be given, with docker's words.
func parseTag(text string) (string, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return "", fault.New("a name looks like nginx, nginx:1.27, quay.io/team/app:v2 or localhost:5000/app",
			"error parsing reference: %q is not a valid repository/tag: %w", text, err)
	}
	if _, digested := named.(reference.Digested); digested {
		return "", fault.New("a digest belongs to an image already: give a name with a tag",
			"refusing to create a tag with a digest reference: %s", text)
	}
	if reference.FamiliarName(named) == strings.TrimSuffix(idPrefix, ":") {
		return "", fault.New("choose another name: this one would be read as an id",
			"refusing to create an ambiguous tag using digest algorithm as name: %s", text)
	}
	return reference.TagNameOnly(named).String(), nil
}

// Untag takes names from the image that ref means, all or none; all that it has
// where none are given. The image stays, if need be without a name.
func (l *Layout) Untag(ctx context.Context, ref string, names ...string) error {
	canonical, err := parseNames(names)
	if err != nil {
		return asDocker(err)
	}
	return l.change(ctx, func(ix *index) error {
		found, _, err := ix.find(ref)
		if err != nil {
			return asDocker(err)
		}
		id := found.id
		if len(canonical) == 0 {
			ix.keepNameless(id)
		}
		for i, name := range canonical {
			if !slices.Contains(ix.references(id), name) {
				return asDocker(fault.New("see which names it has: builder images --digests",
					"untagging %s: %w: %s", ref, ErrNoTag, names[i]))
			}
			if e := ix.first(func(e *entry) bool { return e.id == id && e.name == name }); e != nil {
				ix.unname(e)
			} else {
				ix.forgetDigests(id, []string{name})
			}
		}
		return nil
	})
}
