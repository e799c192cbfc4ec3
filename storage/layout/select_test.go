package layout_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/storage/layout"
)

// commitDated stores an image of a day in 2024, with labels, and names it.
func commitDated(t *testing.T, l *layout.Layout, day int, labels map[string]string, names ...string) layout.Image {
	t.Helper()
	created := time.Date(2024, 1, day, 0, 0, 0, 0, time.UTC)
	cfg := &layout.ImageConfig{Created: &created, OS: "linux", Architecture: "amd64", Config: layout.RunConfig{Labels: labels}}
	if day == 0 {
		cfg.Created = nil
	}
	manifest, id, err := layout.WriteImage(context.Background(), l, cfg, []v1.Descriptor{}, layout.FormatOCI, nil)
	must(t, err)
	must(t, l.Commit(context.Background(), names, manifest, nil))
	img, err := l.Find(id.String())
	must(t, err)
	return img
}

func TestFiltersSelectAsDockersDo(t *testing.T) {
	l := newLayout(t)
	commitDated(t, l, 1, map[string]string{"stage": "base"}, "mongo:3.2", "my/mongo:old")
	commitDated(t, l, 2, map[string]string{"stage": "test", "v": "1"}, "ubuntu:16.04")
	commitDated(t, l, 3, map[string]string{"stage": "test", "v": "2"}, "ubuntu:18.04", "quay.io/team/ubuntu:18.04")
	bare := commitDated(t, l, 4, map[string]string{"v": "2"})
	commitDated(t, l, 0, nil, "dateless")
	pinned := commitDated(t, l, 5, nil)
	must(t, l.Commit(context.Background(), []string{"alpine@" + pinned.Manifest.Digest.String()}, pinned.Manifest, nil))
	step := &layout.ImageConfig{Config: layout.RunConfig{Labels: map[string]string{"v": "step"}}}
	unwritten := layout.Unwritten(digest.FromString("step"), time.Date(2024, 1, 6, 0, 0, 0, 0, time.UTC), 1, step)
	names := map[string]string{layout.Familiar("docker.io/library/alpine@" + pinned.Manifest.Digest.String()): "alpine@"}
	for text, want := range map[string]string{
		"": "mongo:3.2 my/mongo:old ubuntu:16.04 ubuntu:18.04 quay.io/team/ubuntu:18.04 - dateless:latest alpine@ -",

		"label=v=step":   "-",
		"dangling=true":  "- alpine@",
		"dangling=false": "mongo:3.2 my/mongo:old ubuntu:16.04 ubuntu:18.04 quay.io/team/ubuntu:18.04 dateless:latest alpine@",

		"reference=ubuntu":                              "ubuntu:16.04 ubuntu:18.04",
		"reference=ubuntu:16.04":                        "ubuntu:16.04",
		"reference=ubuntu:1*":                           "ubuntu:16.04 ubuntu:18.04",
		"reference=my/*":                                "my/mongo:old",
		"reference=*":                                   "mongo:3.2 ubuntu:16.04 ubuntu:18.04 dateless:latest alpine@",
		"reference=*/*/*:18.04":                         "quay.io/team/ubuntu:18.04",
		"reference=mongo reference=alpine":              "mongo:3.2 alpine@",
		"reference=docker.io/library/mongo":             "",
		"reference=ubuntu label=v=1":                    "ubuntu:16.04",
		"reference=ubuntu dangling=true":                "",
		"label=stage":                                   "mongo:3.2 my/mongo:old ubuntu:16.04 ubuntu:18.04 quay.io/team/ubuntu:18.04",
		"label=stage=test label=v=2":                    "ubuntu:18.04 quay.io/team/ubuntu:18.04",
		"label=v label!=stage":                          "- -",
		"label=v=2 dangling=true":                       "-",
		"before=ubuntu:16.04":                           "mongo:3.2 my/mongo:old",
		"since=ubuntu:18.04":                            "- alpine@ -",
		"since=mongo:3.2 before=ubuntu:18.04":           "ubuntu:16.04",
		"before=ubuntu:18.04 before=ubuntu:16.04":       "mongo:3.2 my/mongo:old",
		"since=mongo:3.2 since=ubuntu:18.04":            "- alpine@ -",
		"before=dateless":                               "mongo:3.2 my/mongo:old ubuntu:16.04 ubuntu:18.04 quay.io/team/ubuntu:18.04 - dateless:latest alpine@ -",
		"before=" + bare.ID.Encoded()[:12] + " label=v": "ubuntu:16.04 ubuntu:18.04 quay.io/team/ubuntu:18.04",
		"until=2024-01-02T12:00:00Z":                    "mongo:3.2 my/mongo:old ubuntu:16.04",
		"until=2024-01-02T12:00:00Z since=mongo:3.2":    "ubuntu:16.04",
	} {
		set, err := filter.Parse(strings.Fields(text))
		must(t, err)
		images, err := l.List()
		must(t, err)
		images, err = l.Select(append(images, unwritten), set)
		must(t, err)
		var got []string
		for _, img := range images {
			name := layout.Familiar(img.Name)
			if name == "" {
				name = "-"
			}
			if short := names[name]; short != "" {
				name = short
			}
			got = append(got, name)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q selects %q, not %q", text, got, want)
		}
	}
}

func TestBadFiltersAreDockersErrors(t *testing.T) {
	l := newLayout(t)
	for text, want := range map[string]string{
		"colour=red":          "invalid filter 'colour'",
		"dangling=maybe":      "invalid filter 'dangling=[maybe]'",
		"before=nosuch:3.2":   "no such image: nosuch:3.2",
		"since=nosuch":        "no such image: nosuch",
		"reference=[a":        "syntax error in pattern",
		"until=when-it-suits": "until=when-it-suits",
	} {
		set, err := filter.Parse([]string{text})
		must(t, err)
		if _, err := l.Select(nil, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, which doesn't say %q", text, err, want)
		}
	}
	set, _ := filter.Parse([]string{"since=nosuch"})
	if _, err := l.Select(nil, set); !errors.Is(err, layout.ErrUnknown) {
		t.Errorf("an image that isn't there: %v", err)
	}
}
