package layout

import (
	"encoding/json"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
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
//     that was pulled by digest alone counts as either, one that is Unwritten, and
//     so a part of others, as neither.
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
	for _, prepare := range []func([]Image, filter.Set) (func(Image) bool, error){dangling, referenced, l.aged} {
		fn, err := prepare(images, set)
		if err != nil {
			return nil, err
		}
		if fn != nil {
			suits = append(suits, fn)
		}
	}
	var selected []Image
	for _, img := range images {
		if !slices.ContainsFunc(suits, func(suits func(Image) bool) bool { return !suits(img) }) {
			selected = append(selected, img)
		}
	}
	return l.labelled(selected, set), nil
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
	return func(img Image) bool { return !tagged[img.ID] && img.config == nil }, nil
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

// labelled gives those of images whose configs have the labels that are asked for.
// Configs are read side by side, each once.
func (l *Layout) labelled(images []Image, set filter.Set) []Image {
	if !set.Has("label", "label!") {
		return images
	}
	var each []Image
	at := map[digest.Digest]int{}
	for _, img := range images {
		if _, seen := at[img.ID]; !seen {
			at[img.ID] = len(each)
			each = append(each, img)
		}
	}
	has := make([]bool, len(each))
	var readers sync.WaitGroup
	for first, step := 0, runtime.GOMAXPROCS(0); first < step; first++ {
		readers.Go(func() {
			for i := first; i < len(each); i += step {
				has[i] = set.HasLabels(l.labels(each[i]))
			}
		})
	}
	readers.Wait()
	return slices.DeleteFunc(slices.Clone(images), func(img Image) bool { return !has[at[img.ID]] })
}

// labels are those of an image's config, with nothing else read of it.
func (l *Layout) labels(img Image) map[string]string {
	if img.config != nil {
		return img.config.Config.Labels
	}
	data, err := l.ReadBlob(img.ID)
	if err != nil {
		return nil
	}
	var known struct {
		Config struct{ Labels map[string]string } `json:"config"`
	}
	if json.Unmarshal(data, &known) != nil {
		return nil
	}
	return known.Config.Labels
}
