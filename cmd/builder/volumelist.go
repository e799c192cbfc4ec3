package main

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/volume"
)

func volumeListCommand() *cli.Command {
	return called("ls", &cli.Command{
		Name:  "list",
		Usage: "List volumes",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "`KEY=VALUE`: dangling, driver, label, name"},
			&cli.StringFlag{Name: "format", Usage: "print by `TEMPLATE`: '{{.Name}} {{.Labels}}', 'table {{.Name}}', json"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print names only"},
		}),
		Action: coded(noArguments(volumeList)),
	})
}

// docker's table of volumes, and its older raw form.
const (
	volumeTable = "table {{.Driver}}\t{{.Name}}"
	volumeRaw   = `name: {{.Name}}\ndriver: {{.Driver}}\n`
)

var volumeHeadings = map[string]string{
	"Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
	"Links": "LINKS", "Size": "SIZE", "Group": "GROUP", "Availability": "AVAILABILITY", "Status": "STATUS",
}

func volumeList(c *cli.Context) error {
	set, err := filter.Parse(c.StringSlice("filter"))
	if err != nil {
		return err
	}
	text, table := c.String("format"), volumeTable
	if c.Bool("quiet") {
		table = "{{.Name}}"
	}
	if text == "raw" {
		text = volumeRaw
		if c.Bool("quiet") {
			text = "name: {{.Name}}"
		}
	}
	template, err := format.Parse(text, table)
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		volumes, err := selectVolumes(store, set)
		if err != nil {
			return err
		}
		slices.SortFunc(volumes, func(a, b volume.Volume) int { return naturally(a.Name, b.Name) })
		rows := make([]volumeRow, 0, len(volumes))
		for _, v := range volumes {
			rows = append(rows, volumeRow{v: v, mountpoint: store.Volumes().Data(v.Name), links: -1})
		}
		return format.Print(template, c.App.Writer, volumeHeadings, slices.Values(rows))
	})
}

// naturally compares names as docker lists them: numbers in them by their values.
func naturally(a, b string) int {
	for a != "" && b != "" {
		i, j := digits(a), digits(b)
		if i == 0 || j == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		m, n := strings.TrimLeft(a[:i], "0"), strings.TrimLeft(b[:j], "0")
		if c := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n), cmp.Compare(i, j)); c != 0 {
			return c
		}
		a, b = a[i:], b[j:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many digits a text begins with.
func digits(text string) int { return len(text) - len(strings.TrimLeft(text, "0123456789")) }

// selectVolumes gives the volumes that set lets through: of several names or drivers
// any, of labels all.
func selectVolumes(store *storage.Store, set filter.Set) ([]volume.Volume, error) {
	if err := set.Check("dangling", "driver", "label", "name"); err != nil {
		return nil, err
	}
	dangling, err := set.Bool("dangling", false)
	if err != nil {
		return nil, err
	}
	volumes, err := store.Volumes().List()
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	if set.Has("dangling") {
		users = volumeUsers(containersDir(store), "")()
	}
	return slices.DeleteFunc(volumes, func(v volume.Volume) bool {
		named := func(pattern string) bool {
			matches, err := regexp.MatchString(pattern, v.Name)
			return matches && err == nil || pattern == v.Name
		}
		switch {
		case set.Has("dangling") && dangling != (len(users[v.Name]) == 0),
			set.Has("driver") && !slices.Contains(set.Values("driver"), volume.Driver),
			set.Has("name") && !slices.ContainsFunc(set.Values("name"), named):
			return true
		}
		return !set.HasLabels(v.Labels)
	}), nil
}

// volumeRow is one line of volume ls, or of system df -v, which knows more.
type volumeRow struct {
	v          volume.Volume
	mountpoint string
	links      int // -1 where it isn't known
	bytes      int64
}

// Name is the volume's.
func (r volumeRow) Name() string { return r.v.Name }

// Driver is what keeps it.
func (volumeRow) Driver() string { return volume.Driver }

// Scope is that of the driver.
func (volumeRow) Scope() string { return volume.Driver }

// Mountpoint is where its data lie.
func (r volumeRow) Mountpoint() string { return r.mountpoint }

// Labels are all of its labels.
func (r volumeRow) Labels() string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(r.v.Labels)) {
		labels = append(labels, key+"="+r.v.Labels[key])
	}
	return strings.Join(labels, ",")
}

// Label is one of them.
func (r volumeRow) Label(key string) string { return r.v.Labels[key] }

// Links is how many containers have it.
func (r volumeRow) Links() string {
	if r.links < 0 {
		return notCounted
	}
	return strconv.Itoa(r.links)
}

// Size is what it takes.
func (r volumeRow) Size() string {
	if r.links < 0 {
		return notCounted
	}
	return format.LongSize(r.bytes)
}

// Group is of volumes of a cluster.
func (volumeRow) Group() string { return notCounted }

// Availability is of volumes of a cluster.
func (volumeRow) Availability() string { return notCounted }

// Status is of volumes of a cluster.
func (volumeRow) Status() string { return notCounted }

// MarshalJSON gives docker's fields.
func (r volumeRow) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct {
		Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string
	}{
		notCounted, volume.Driver, notCounted, r.Labels(), r.Links(), r.mountpoint, r.v.Name, volume.Driver, r.Size(), notCounted,
	})
}
