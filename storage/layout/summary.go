package layout

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Summary is an image with all its names, which List gives one by one.
type Summary struct {
	// ID is the digest of the config.
	ID      digest.Digest
	Created time.Time
	Size    int64
	// Repositories are those in which the image has names, sorted by name. An
	// image without a name has none.
	Repositories []Repository
}

// A Repository is what an image is called in one repository.
type Repository struct {
	// Name is as docker shows it: nginx, quay.io/team/app.
	Name string
	// Tags are sorted. They are none where the image was pulled by digest alone.
	Tags []string
	// Digests are what the registry knows the image by here, sorted: or would, of an
	// image that it doesn't know.
	Digests []digest.Digest
}

// Summarize joins the names of each image: newest image first, and of one time by
// name.
func Summarize(images []Image) []Summary {
	at := make(map[digest.Digest]int, len(images))
	summaries := make([]Summary, 0, len(images))
	for _, img := range images {
		i, seen := at[img.ID]
		if !seen {
			i = len(summaries)
			at[img.ID] = i
			summaries = append(summaries, Summary{ID: img.ID, Created: img.Created, Size: img.Size})
		}
		if img.Name != "" {
			summaries[i].add(img)
		}
	}
	for i := range summaries {
		if s := &summaries[i]; len(s.Repositories) > 0 {
			s.sort()
		}
	}
	slices.SortFunc(summaries, func(a, b Summary) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.firstName(), b.firstName()), strings.Compare(string(a.ID), string(b.ID)))
	})
	return summaries
}

// add adds a name.
func (s *Summary) add(img Image) {
	name, suffix := splitName(Familiar(img.Name))
	i := slices.IndexFunc(s.Repositories, func(r Repository) bool { return r.Name == name })
	if i < 0 {
		i = len(s.Repositories)
		s.Repositories = append(s.Repositories, Repository{Name: name})
	}
	r := &s.Repositories[i]
	digests := img.RepoDigests
	if tag, tagged := strings.CutPrefix(suffix, ":"); tagged {
		r.Tags = append(r.Tags, tag)
	} else if pinned, digested := strings.CutPrefix(suffix, "@"); digested {
		digests = []digest.Digest{digest.Digest(pinned)}
	}
	if len(digests) == 0 {
		digests = []digest.Digest{img.Target().Digest}
	}
	for _, d := range digests {
		if !slices.Contains(r.Digests, d) {
			r.Digests = append(r.Digests, d)
		}
	}
}

func (s *Summary) sort() {
	slices.SortFunc(s.Repositories, func(a, b Repository) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range s.Repositories {
		slices.Sort(r.Tags)
		slices.Sort(r.Digests)
	}
}

// firstName is what images of one time are sorted by.
func (s Summary) firstName() string {
	if len(s.Repositories) == 0 {
		return ""
	}
	r := s.Repositories[0]
	if len(r.Tags) == 0 {
		return r.Name
	}
	return r.Name + ":" + r.Tags[0]
}
