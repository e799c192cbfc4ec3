package main

import (
	"strings"
	"time"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage/layout"
)

// none is docker's word for what is missing of a name.
const none = "<none>"

// imageRow is one line of images. Its methods are what templates name; nothing
// is made of those that no one asks for.
type imageRow struct {
	list                    *imageList
	image                   *layout.Summary
	repository, tag, digest string
}

var imageHeadings = map[string]string{
	"Containers": "CONTAINERS", "CreatedAt": "CREATED AT", "CreatedSince": "CREATED", "Digest": "DIGEST", "ID": "IMAGE ID",
	"Repository": "REPOSITORY", "SharedSize": "SHARED SIZE", "Size": "SIZE", "Tag": "TAG", "UniqueSize": "UNIQUE SIZE",
	"VirtualSize": "SIZE",
}

// rows gives a row for each tag of each image, and for each digest too where
// those are shown. Digests have a row of their own only where the image has no
// tag in that repository.
func (l *imageList) rows(images []layout.Summary) []imageRow {
	digests := l.digests || strings.Contains(l.format, "{{.Digest}}")
	rows := make([]imageRow, 0, len(images))
	for i := range images {
		img := &images[i]
		if len(img.Repositories) == 0 {
			rows = append(rows, imageRow{l, img, none, none, none})
		}
		for _, r := range img.Repositories {
			tags := r.Tags
			if len(tags) == 0 {
				tags = []string{none}
			}
			for _, tag := range tags {
				if !digests {
					rows = append(rows, imageRow{l, img, r.Name, tag, none})
					continue
				}
				for _, d := range r.Digests {
					rows = append(rows, imageRow{l, img, r.Name, tag, d.String()})
				}
			}
		}
	}
	return rows
}

func (r imageRow) ID() string {
	if r.list.whole {
		return r.image.ID.String()
	}
	return format.ShortID(r.image.ID)
}

func (r imageRow) Repository() string { return r.repository }

func (r imageRow) Tag() string { return r.tag }

func (r imageRow) Digest() string { return r.digest }

func (r imageRow) CreatedSince() string {
	if r.image.Created.IsZero() {
		return ""
	}
	return format.Ago(r.image.Created, r.list.now)
}

func (r imageRow) CreatedAt() string { return time.Unix(r.image.Created.Unix(), 0).String() }

func (r imageRow) Size() string { return format.Size(r.image.Size) }

// VirtualSize is an older word for Size, with a digit more.
func (r imageRow) VirtualSize() string { return format.LongSize(r.image.Size) }

// notCounted is what docker prints of numbers that its list doesn't ask for.
const notCounted = "N/A"

func (imageRow) Containers() string { return notCounted }

func (imageRow) SharedSize() string { return notCounted }

func (imageRow) UniqueSize() string { return notCounted }

// MarshalJSON gives all fields.
func (r imageRow) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct {
		Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize, VirtualSize string
	}{
		r.Containers(), r.CreatedAt(), r.CreatedSince(), r.Digest(), r.ID(), r.Repository(),
		r.SharedSize(), r.Size(), r.Tag(), r.UniqueSize(), r.VirtualSize(),
	})
}
