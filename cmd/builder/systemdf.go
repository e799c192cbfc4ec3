package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/layout"
)

func systemDfCommand() *cli.Command {
	return &cli.Command{
		Name:  "df",
		Usage: "Tell what images, containers and the build cache take",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell it of each"},
			&cli.StringFlag{Name: "format", Usage: "print by `TEMPLATE`: '{{.Type}} {{.Size}}', 'table {{.Type}}', json"},
		},
		Action: coded(noArguments(systemDf)),
	}
}

func systemDf(c *cli.Context) error {
	if !userns.Inside() {
		return enterWithout(c)
	}
	return withStore(c, func(store *storage.Store) error {
		d, err := measureStore(store)
		if err != nil {
			return err
		}
		if c.Bool("verbose") {
			return d.printAll(c.App.Writer, c.String("format"))
		}
		t, err := format.Parse(c.String("format"), dfTable)
		if err != nil {
			return err
		}
		return format.Print(t, c.App.Writer, dfHeadings, slices.Values(d.rows()))
	})
}

// diskUsage is what a store takes.
type diskUsage struct {
	*gc.DiskUsage
	images     []layout.Summary
	containers []containerUsage
	volumes    []volumeRow
	names      *imageNames
	now        time.Time
}

// containerUsage is a container and the bytes of what it has changed.
type containerUsage struct {
	container.Found
	bytes int64
}

func (u containerUsage) running() bool { return u.State.Status == container.StatusRunning }

func measureStore(store *storage.Store) (*diskUsage, error) {
	collector := store.Collector(true)
	d := &diskUsage{now: time.Now()}
	used := map[digest.Digest]bool{}
	for _, found := range container.List(containersDir(store)) {
		used[digest.Digest(found.Config.ImageID)] = true
		bytes, err := collector.KeptBytes(found.Config.ID)
		if err != nil {
			return nil, err
		}
		d.containers = append(d.containers, containerUsage{found, bytes})
	}
	var err error
	if d.DiskUsage, err = collector.DiskUsage(func(id digest.Digest) bool { return used[id] }); err != nil {
		return nil, err
	}
	images, err := store.Layout().List()
	if err != nil {
		return nil, err
	}
	d.images, d.names = layout.Summarize(images), nameImages(store.Layout(), images)
	d.volumes, err = measureVolumes(store)
	return d, err
}

// measureVolumes tells of each volume what it takes, and how many containers have it.
func measureVolumes(store *storage.Store) ([]volumeRow, error) {
	volumes, err := store.Volumes().List()
	if err != nil {
		return nil, err
	}
	users := volumeUsers(containersDir(store), "")()
	rows := make([]volumeRow, 0, len(volumes))
	for _, v := range volumes {
		row := volumeRow{v: v, mountpoint: store.Volumes().Data(v.Name), links: len(users[v.Name])}
		if row.bytes, err = gc.DirBytes(row.mountpoint); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// users counts the containers of an image.
func (d *diskUsage) users(id digest.Digest) int {
	n := 0
	for _, u := range d.containers {
		if u.Config.ImageID == id.String() {
			n++
		}
	}
	return n
}

const dfTable = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"

var dfHeadings = map[string]string{
	"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
	"Bytes": "BYTES", "ReclaimableBytes": "RECLAIMABLE BYTES",
}

// dfRow is one line of system df. Its exported members are what templates name:
// docker's, and the sizes in bytes, for who adds up.
type dfRow struct {
	Type                    string
	Bytes, ReclaimableBytes int64
	total, active           int
	percent                 bool
}

func (d *diskUsage) rows() []dfRow {
	images := dfRow{Type: "Images", Bytes: d.ImageBytes, ReclaimableBytes: d.ImagesReclaimable, total: len(d.images), percent: true}
	for _, image := range d.images {
		if d.users(image.ID) > 0 {
			images.active++
		}
	}
	containers := dfRow{Type: "Containers", total: len(d.containers), percent: true}
	for _, u := range d.containers {
		containers.Bytes += u.bytes
		if u.running() {
			containers.active++
		} else {
			containers.ReclaimableBytes += u.bytes
		}
	}
	cached := dfRow{Type: "Build Cache", Bytes: d.CacheBytes, ReclaimableBytes: d.CacheReclaimable, total: len(d.Cache)}
	for _, e := range d.Cache {
		if e.InUse {
			cached.active++
		}
	}
	volumes := dfRow{Type: "Local Volumes", total: len(d.volumes), percent: true}
	for _, v := range d.volumes {
		volumes.Bytes += v.bytes
		if v.links > 0 {
			volumes.active++
		} else {
			volumes.ReclaimableBytes += v.bytes
		}
	}
	return []dfRow{images, containers, volumes, cached}
}

// TotalCount is how many there are.
func (r dfRow) TotalCount() string { return strconv.Itoa(r.total) }

// Active is how many of them are used.
func (r dfRow) Active() string { return strconv.Itoa(r.active) }

// Size is what all of them take.
func (r dfRow) Size() string { return format.LongSize(r.Bytes) }

// Reclaimable is what pruning would free.
func (r dfRow) Reclaimable() string {
	if r.percent && r.Bytes > 0 {
		return fmt.Sprintf("%s (%d%%)", format.LongSize(r.ReclaimableBytes), r.ReclaimableBytes*100/r.Bytes)
	}
	return format.LongSize(r.ReclaimableBytes)
}

// MarshalJSON gives docker's fields.
func (r dfRow) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct{ Active, Reclaimable, Size, TotalCount, Type string }{
		r.Active(), r.Reclaimable(), r.Size(), r.TotalCount(), r.Type,
	})
}
