package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/layout"
)

// Docker's tables of system df -v.
const (
	dfImageTable     = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}"
	dfContainerTable = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"
	dfVolumeTable    = "table {{.Name}}\t{{.Links}}\t{{.Size}}"
	dfCacheTable     = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}"
)

var (
	dfContainerHeadings = map[string]string{
		"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE",
		"RunningFor": "CREATED", "Status": "STATUS", "Names": "NAMES",
	}
	dfCacheHeadings = map[string]string{
		"ID": "CACHE ID", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED",
		"LastUsedSince": "LAST USED", "UsageCount": "USAGE", "Shared": "SHARED",
	}
)

// dfAll is what a template of system df -v is executed on, as in docker: whole,
// with a list of each kind.
type dfAll struct {
	BuildCache []dfCache
	Containers []dfContainer
	Images     []dfImage
	Volumes    []volumeRow
}

// printAll prints each image, container and entry of the cache.
func (d *diskUsage) printAll(w io.Writer, text string) error {
	table := text == "" || text == format.Table
	all := d.all(!table)
	if !table {
		t, err := format.Parse(text, "")
		if err != nil {
			return err
		}
		return format.Print(t, w, nil, slices.Values([]dfAll{all}))
	}
	if err := section(w, "Images space usage:", dfImageTable, imageHeadings, all.Images); err != nil {
		return err
	}
	if err := section(w, "\nContainers space usage:", dfContainerTable, dfContainerHeadings, all.Containers); err != nil {
		return err
	}
	if err := section(w, "\nLocal Volumes space usage:", dfVolumeTable, volumeHeadings, all.Volumes); err != nil {
		return err
	}
	return section(w, "\nBuild cache usage: "+format.LongSize(d.CacheBytes), dfCacheTable, dfCacheHeadings, all.BuildCache)
}

func section[T any](w io.Writer, title, table string, headings map[string]string, rows []T) error {
	if _, err := fmt.Fprint(w, title+"\n\n"); err != nil {
		return err
	}
	t, err := format.Parse("", table)
	if err != nil {
		return err
	}
	return format.Print(t, w, headings, slices.Values(rows))
}

func (d *diskUsage) all(whole bool) dfAll {
	all := dfAll{Images: []dfImage{}, Containers: []dfContainer{}, Volumes: d.volumes, BuildCache: []dfCache{}}
	list := &imageList{whole: whole, now: d.now}
	for i := range d.images {
		image := &d.images[i]
		row := list.rows([]layout.Summary{*image})[0]
		row.digest = none
		all.Images = append(all.Images, dfImage{row, d.Images[image.ID], d.users(image.ID)})
	}
	shown := &containerList{whole: whole, now: d.now}
	for _, u := range d.containers {
		row := containerRow{Found: u.Found, list: shown, image: d.names.of(u.Config), written: u.bytes}
		all.Containers = append(all.Containers, dfContainer{row})
	}
	for _, e := range d.Cache {
		all.BuildCache = append(all.BuildCache, dfCache{e, d.now})
	}
	return all
}

// dfImage is an image by its first name. Its Size is what it takes, where that of
// images is what its layers hold.
type dfImage struct {
	imageRow
	gc.ImageUsage
	containers int
}

// Containers is how many use it.
func (r dfImage) Containers() string { return strconv.Itoa(r.containers) }

// Size is the sum of SharedSize and UniqueSize.
func (r dfImage) Size() string { return format.Size(r.Shared + r.Unique) }

// SharedSize is what other images, or cached steps, have too.
func (r dfImage) SharedSize() string { return format.LongSize(r.Shared) }

// UniqueSize is what is free when the image goes.
func (r dfImage) UniqueSize() string { return format.LongSize(r.Unique) }

// SharedBytes is SharedSize, for who adds up.
func (r dfImage) SharedBytes() int64 { return r.Shared }

// UniqueBytes is UniqueSize, for who adds up.
func (r dfImage) UniqueBytes() int64 { return r.Unique }

// MarshalJSON gives docker's fields.
func (r dfImage) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct {
		Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize, VirtualSize string
	}{
		r.Containers(), r.CreatedAt(), r.CreatedSince(), r.Digest(), r.ID(), r.Repository(),
		r.SharedSize(), r.Size(), r.Tag(), r.UniqueSize(), format.LongSize(r.Shared + r.Unique),
	})
}

// dfContainer is a container as ps shows it, with what it alone takes.
type dfContainer struct{ containerRow }

// Size is what it has changed.
func (r dfContainer) Size() string { return format.LongSize(r.written) }

// MarshalJSON gives docker's fields.
func (r dfContainer) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct{ Command, ID, Image, LocalVolumes, Names, RunningFor, Size, Status string }{
		r.Command(), r.ID(), r.Image(), r.LocalVolumes(), r.Names(), r.RunningFor(), r.Size(), r.Status(),
	})
}

// dfCache is what the build cache holds for one step, or a cache mount.
type dfCache struct {
	entry *gc.Entry
	now   time.Time
}

// ID is what cache rm takes; a star marks what is in use.
func (r dfCache) ID() string {
	if r.entry.InUse {
		return r.entry.ID() + "*"
	}
	return r.entry.ID()
}

// CacheType is buildx's word for its kind.
func (r dfCache) CacheType() string { return r.entry.Type() }

// Size is what it takes, also of what images have too.
func (r dfCache) Size() string { return format.Size(r.entry.Bytes) }

// CreatedSince is since when it is there.
func (r dfCache) CreatedSince() string { return format.Ago(newCacheEntry(r.entry).Created, r.now) }

// LastUsedSince is when a build has used it.
func (r dfCache) LastUsedSince() string { return format.Ago(r.entry.Used, r.now) }

// UsageCount isn't counted.
func (dfCache) UsageCount() string { return notCounted }

// InUse says that a command is using it.
func (r dfCache) InUse() string { return strconv.FormatBool(r.entry.InUse) }

// Shared says that an image has it too.
func (r dfCache) Shared() string { return strconv.FormatBool(r.entry.Shared) }

// Description is what it came from.
func (r dfCache) Description() string { return newCacheEntry(r.entry).text() }

// MarshalJSON gives all fields.
func (r dfCache) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct {
		CacheType, CreatedSince, Description, ID, InUse, LastUsedSince, Shared, Size, UsageCount string
	}{
		r.CacheType(), r.CreatedSince(), r.Description(), r.ID(), r.InUse(), r.LastUsedSince(), r.Shared(), r.Size(), r.UsageCount(),
	})
}
