package layout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

func TestAnImageIsSummarizedUnderAllItsNames(t *testing.T) {
	letter := func(s string) digest.Digest { return digest.Digest("sha256:" + strings.Repeat(s, 64)) }
	then := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	index := v1.Descriptor{Digest: letter("f")}
	image := func(name, id string, age time.Duration) layout.Image {
		return layout.Image{Name: name, ID: letter(id), Manifest: v1.Descriptor{Digest: letter("d")}, Created: then.Add(-age), Size: 7}
	}
	multi := image("docker.io/library/b:2", "1", 0)
	multi.Index = &index
	known := image("docker.io/library/old:1", "2", time.Hour)
	known.RepoDigests = []digest.Digest{letter("9"), letter("8")}
	images := []layout.Image{
		multi, image("docker.io/library/b:1", "1", 0), image("docker.io/library/b@"+letter("e").String(), "1", 0), image("quay.io/a/a:x", "1", 0),
		known,
		image("", "4", 0), image("", "3", 0),
		image("docker.io/library/a@"+letter("d").String(), "5", 0),
		image("", "5", 0),
	}
	var got []string
	for _, s := range layout.Summarize(images) {
		line := s.ID.Encoded()[:1]
		for _, r := range s.Repositories {
			line += " " + r.Name + fmt.Sprint(r.Tags)
			for _, d := range r.Digests {
				line += d.Encoded()[:1]
			}
		}
		got = append(got, line)
	}
	want := []string{"3", "4", "5 a[]d", "1 b[1 2]def quay.io/a/a[x]d", "2 old[1]89"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("summaries are\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
