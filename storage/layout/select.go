package layout

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/filter"
)

// Filters are the keys that Select knows.
var Filters = []string{"before", "dangling", "label", "label!", "reference", "since", "until"}

// Select gives those of images, of one List, that all filters let through, as
// docker lists them:
//
//   - dangling: whether the image has no tag under any of its descriptors; one
//     that was pulled by digest alone counts as either.
//   - reference: the name as docker shows it, with or without its tag, is like one
//     of the patterns, which are path.Match's. It chooses among an image's names.
//   - label, label!: the config has all of these labels, and none of those.
//   - before, since: the image is older than each of these, or newer; until: older
//     than a time (see filter.Set.Until). One without a date is neither.
//
// Only labels take reading configs; an image whose config is damaged has none.
// An image named in before or since that isn't there is ErrUnknown.
func (l *Layout) Select(images []Image, set filter.Set) ([]Image, error) {
	if err := set.Check(Filters...); err != nil {
		return nil, err
	}
	if set.Empty() {
		return images, nil
	}
	var suits []func(Image) bool
	for _, prepare := range []func([]Image, filter.Set) (func(Image) bool, error){
		dangling, referenced, l.aged, l.labelled,
	} {
		fn, err := prepare(images, set)
		if err != nil {
			return nil, err
		}
		if fn != nil {
			suits = append(suits, fn)
		}
	}
	var selected []Image
next:
	for _, img := range images {
		for _, fn := range suits {
			if !fn(img) {
				continue next
			}
		}
		selected = append(selected, img)
	}
	return selected, nil
}

// dangling is what the filter of that name asks of an image, nil for nothing.
func dangling(images []Image, set filter.Set) (func(Image) bool, error) {
	want, err := set.Bool("dangling", false)
	if err != nil || !set.Has("dangling") {
		return nil, err
	}
	if !want {
		return func(img Image) bool { return img.Name != "" }, nil
	}
	tagged := make(map[digest.Digest]bool, len(images))
	for _, img := range images {
		if img.Tagged() {
			tagged[img.ID] = true
		}
	}
	return func(img Image) bool { return !tagged[img.ID] }, nil
}

// Tagged tells whether the image is here under a name with a tag.
func (i Image) Tagged() bool { return i.Name != "" && !strings.Contains(i.Name, "@") }

// referenced is what patterns ask of an image's name.
func referenced(_ []Image, set filter.Set) (func(Image) bool, error) {
	patterns := set.Values("reference")
	if len(patterns) == 0 {
		return nil, nil
	}
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, &fault.Error{
				Err:    fmt.Errorf("invalid filter 'reference=%s': %w", pattern, err),
				Remedy: "a pattern looks like nginx, nginx:1.*, 'my/*' or '[a-c]*:latest'",
				Code:   1,
			}
		}
	}
	return func(img Image) bool {
		name := Familiar(img.Name)
		repository, _ := splitName(name)
		for _, pattern := range patterns {
			whole, _ := path.Match(pattern, name)
			part, _ := path.Match(pattern, repository)
			if name != "" && (whole || part) {
				return true
			}
		}
		return false
	}, nil
}

// aged is what before, since and until ask of an image's date. Of several values
// all are to hold.
func (l *Layout) aged(_ []Image, set filter.Set) (func(Image) bool, error) {
	before, err := set.Until(time.Now())
	if err != nil {
		return nil, err
	}
	var since time.Time
	for _, key := range []string{"before", "since"} {
		for _, ref := range set.Values(key) {
			img, err := l.Find(ref)
			switch {
			case err != nil:
				return nil, asDocker(err)
			case img.Created.IsZero():
			case key == "since" && img.Created.After(since):
				since = img.Created
			case key == "before" && (before.IsZero() || img.Created.Before(before)):
				before = img.Created
			}
		}
	}
	if before.IsZero() && since.IsZero() {
		return nil, nil
	}
	return func(img Image) bool {
		return !img.Created.IsZero() && (before.IsZero() || img.Created.Before(before)) && img.Created.After(since)
	}, nil
}

// labelled is what labels ask of an image's config.
func (l *Layout) labelled(_ []Image, set filter.Set) (func(Image) bool, error) {
	if !set.Has("label", "label!") {
		return nil, nil
	}
	known := map[digest.Digest]bool{}
	return func(img Image) bool {
		has, seen := known[img.ID]
		if !seen {
			var labels map[string]string
			if config, err := l.Config(img); err == nil {
				labels = config.Config.Labels
			}
			has = set.HasLabels(labels)
			known[img.ID] = has
		}
		return has
	}, nil
}
