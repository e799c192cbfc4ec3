package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

func aDigest(letter string) digest.Digest {
	return digest.Digest("sha256:" + strings.Repeat(letter, 64))
}

// someImages are three images under seven names, newest first but for
// the last, whose date nobody knows.
func someImages(now time.Time) []layout.Image {
	manifest := func(letter string) v1.Descriptor { return v1.Descriptor{Digest: aDigest(letter)} }
	week := now.Add(-7 * 24 * time.Hour)
	index := manifest("b")
	return []layout.Image{
		{Name: "docker.io/library/mysql:latest", ID: aDigest("1"), Manifest: manifest("a"), Index: &index, Created: week, Size: 477_000_000},
		{Name: "docker.io/library/mysql:8", ID: aDigest("1"), Manifest: manifest("a"), Index: &index, Created: week, Size: 477_000_000},
		{Name: "docker.io/library/mysql@" + aDigest("c").String(), ID: aDigest("1"), Manifest: manifest("c"), Created: week, Size: 477_000_000},
		{Name: "docker.io/my/centos_with_python:v1.0.1", ID: anID, Manifest: manifest("d"), Created: now.Add(-23 * time.Minute), Size: 279_412_345},
		{Name: "localhost:5000/app@" + aDigest("e").String(), ID: aDigest("2"), Manifest: manifest("e"), Created: now, Size: 999},
		{ID: aDigest("3"), Manifest: manifest("f")},
	}
}

func TestImagesAreListedAsDockerDoes(t *testing.T) {
	now := time.Date(2019, 3, 12, 15, 0, 0, 0, time.UTC)
	images := layout.Summarize(someImages(now))
	short := strings.NewReplacer(
		"sha256:"+strings.Repeat("b", 64), "sha256:b", "sha256:"+strings.Repeat("c", 64), "sha256:c",
		"sha256:"+strings.Repeat("d", 64), "sha256:d", "sha256:"+strings.Repeat("e", 64), "sha256:e",
	)
	for _, test := range []struct {
		name, want string
		list       imageList
	}{
		{name: "the table", want: `
REPOSITORY              TAG       IMAGE ID       CREATED                  SIZE
localhost:5000/app      <none>    222222222222   Less than a second ago   999B
my/centos_with_python   v1.0.1    0123456789ab   23 minutes ago           279MB
mysql                   8         111111111111   7 days ago               477MB
mysql                   latest    111111111111   7 days ago               477MB
<none>                  <none>    333333333333   N/A                      0B
`},
		{name: "ids", list: imageList{quiet: true}, want: `
222222222222
0123456789ab
111111111111
111111111111
333333333333
`},
		{name: "whole ids", list: imageList{quiet: true, whole: true, format: "table"}, want: "\n" +
			aDigest("2").String() + "\n" + anID.String() + "\n" + aDigest("1").String() + "\n" + aDigest("1").String() + "\n" + aDigest("3").String() + "\n"},
		{name: "a template", list: imageList{quiet: true, format: "{{.ID}}: {{.Repository}}"}, want: `
222222222222: localhost:5000/app
0123456789ab: my/centos_with_python
111111111111: mysql
111111111111: mysql
333333333333: <none>
`},
		{name: "a table by template", list: imageList{format: `table {{.ID}}\t{{.CreatedSince}}\t{{.SharedSize}}`}, want: `
IMAGE ID       CREATED                  SHARED SIZE
222222222222   Less than a second ago   N/A
0123456789ab   23 minutes ago           N/A
111111111111   7 days ago               N/A
111111111111   7 days ago               N/A
333333333333                            N/A
`},
		{name: "digests", list: imageList{format: "{{.Repository}}:{{.Tag}}@{{.Digest}}"}, want: `
localhost:5000/app:<none>@sha256:e
my/centos_with_python:v1.0.1@sha256:d
mysql:8@sha256:b
mysql:8@sha256:c
mysql:latest@sha256:b
mysql:latest@sha256:c
<none>:<none>@<none>
`},
		{name: "a table with digests added", list: imageList{digests: true, format: "table {{.Repository}}"}, want: `
REPOSITORY              DIGEST
localhost:5000/app      sha256:e
my/centos_with_python   sha256:d
mysql                   sha256:b
mysql                   sha256:c
mysql                   sha256:b
mysql                   sha256:c
<none>                  <none>
`},
	} {
		test.list.now = now
		var out bytes.Buffer
		if err := test.list.print(&out, images); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := "\n" + short.Replace(out.String()); got != test.want {
			t.Errorf("%s:%s\nnot:%s", test.name, got, test.want)
		}
	}
}

func TestImagesHaveDockersFieldsInJSON(t *testing.T) {
	created := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	list := imageList{format: "json", now: created.Add(50 * time.Hour)}
	images := []layout.Image{{Name: "docker.io/library/app:v1", ID: anID, Created: created, Size: 1_234_567}}
	var out bytes.Buffer
	if err := list.print(&out, layout.Summarize(images)); err != nil {
		t.Fatal(err)
	}
	want := `{"Containers":"N/A","CreatedAt":"` + time.Unix(created.Unix(), 0).String() + `","CreatedSince":"2 days ago",` +
		`"Digest":"<none>","ID":"0123456789ab","Repository":"app","SharedSize":"N/A","Size":"1.23MB","Tag":"v1",` +
		`"UniqueSize":"N/A","VirtualSize":"1.235MB"}` + "\n"
	if out.String() != want {
		t.Errorf("printed:\n%s\nnot:\n%s", &out, want)
	}
}

func TestImagesRawHasABlankLineBetween(t *testing.T) {
	now := time.Now()
	list := imageList{format: "raw", quiet: true, now: now}
	var out bytes.Buffer
	if err := list.print(&out, layout.Summarize(someImages(now)[3:4])); err != nil || out.String() != "image_id: 0123456789ab\n" {
		t.Errorf("ids: %q, %v", &out, err)
	}
	out.Reset()
	list.quiet = false
	if err := list.print(&out, layout.Summarize(someImages(now)[3:4])); err != nil || !strings.HasSuffix(out.String(), "virtual_size: 279MB\n\n") {
		t.Errorf("all: %q, %v", &out, err)
	}
}
