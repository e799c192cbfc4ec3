package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage"
)

func psCommand() *cli.Command {
	return &cli.Command{
		Name:     "ps",
		Category: categoryBuild,
		Usage:    "List containers",
		Description: "Filters are also expose, health, network, publish and volume. Of several values of one\n" +
			"filter one must fit, but of label all.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that don't run"},
			&cli.StringSliceFlag{
				Name: "filter", Aliases: []string{"f"},
				Usage: "`KEY=VALUE`: ancestor, before, exited, id, label, name, since, status",
			},
			&cli.StringFlag{Name: "format", Usage: "print by `TEMPLATE`: '{{.ID}} {{.Names}}', 'table {{.ID}}', json"},
			&cli.IntFlag{Name: "last", Aliases: []string{"n"}, Usage: "only the `NUMBER` that were made last, running or not", Value: -1, DefaultText: "all that run"},
			&cli.BoolFlag{Name: "latest", Aliases: []string{"l"}, Usage: "only the one that was made last, running or not"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "print whole ids and commands"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
			&cli.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "also what each has written, and its image's size"},
		},
		Action: coded(noArguments(ps)),
	}
}

func ps(c *cli.Context) error {
	set, err := filter.Parse(c.StringSlice("filter"))
	if err != nil {
		return err
	}
	list := newContainerList(c)
	template, err := list.parse()
	if err != nil {
		return err
	}
	err = withStore(c, func(store *storage.Store) error {
		found := container.List(containersDir(store))
		newestFirst(found)
		chosen, err := selection{set: set, all: c.Bool("all"), last: lastContainers(c), images: store.Layout()}.of(found)
		if err != nil {
			return err
		}
		rows, err := list.rows(c, store, chosen)
		if err != nil {
			return err
		}
		return format.Print(template, c.App.Writer, containerHeadings, slices.Values(rows))
	})
	if errors.Is(err, errInside) {
		return enterWithout(c)
	}
	return err
}

// errInside says that only the user namespace shows what containers have written.
var errInside = errors.New("what containers have written is readable inside the user namespace")

// lastContainers is how many are asked for, or nothing positive.
func lastContainers(c *cli.Context) int {
	if n := c.Int("last"); n != -1 || !c.Bool("latest") {
		return n
	}
	return 1
}

// newestFirst is docker's order.
func newestFirst(list []container.Found) {
	slices.SortFunc(list, func(a, b container.Found) int {
		if order := b.Config.CreatedAt.Compare(a.Config.CreatedAt); order != 0 {
			return order
		}
		return strings.Compare(a.Config.ID, b.Config.ID)
	})
}

// containerList is how ps prints containers.
type containerList struct {
	format       string
	quiet, whole bool
	sized        bool
	now          time.Time
}

func newContainerList(c *cli.Context) *containerList {
	l := &containerList{
		format: strings.TrimSpace(c.String("format")), quiet: c.Bool("quiet"), whole: c.Bool("no-trunc"),
		sized: c.Bool("size"), now: time.Now(),
	}
	if l.quiet && l.format != "" && l.format != format.Table && l.format != "raw" {
		_, _ = io.WriteString(c.App.ErrWriter, "WARNING: Ignoring custom format, because both --format and --quiet are set.\n")
	}
	if !l.sized && !l.quiet && !c.IsSet("size") {
		l.sized = l.asksForSize()
	}
	return l
}

// The columns of docker's table, and of its older raw form.
const (
	psTable = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
	psRaw   = `container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}\n`
)

// parse reads what --format means beside the other flags. As in docker, a template
// is wrong also where there is no container to show by it.
func (l *containerList) parse() (*format.Template, error) {
	if l.format != "" {
		t, err := format.Parse(l.format, psTable)
		if err == nil {
			err = format.Print(t, io.Discard, containerHeadings, slices.Values([]containerRow{{list: l}}))
		}
		if err != nil {
			return nil, err
		}
	}
	return format.Parse(l.template(), psTable)
}

func (l *containerList) template() string {
	switch {
	case l.quiet && l.format == "raw":
		return "container_id: {{.ID}}"
	case l.quiet:
		return "{{.ID}}"
	case l.format == "raw" && l.sized:
		return psRaw + `size: {{.Size}}\n`
	case l.format == "raw":
		return psRaw
	case l.sized && (l.format == "" || l.format == format.Table):
		return psTable + "\t{{.Size}}"
	}
	return l.format
}

// asksForSize tells whether the template shows sizes, by trying it.
func (l *containerList) asksForSize() bool {
	asked := false
	t, err := format.Parse(l.format, "")
	if err != nil || l.format == format.JSON {
		return false // where docker doesn't measure
	}
	_ = format.Print(t, io.Discard, containerHeadings, slices.Values([]containerRow{{list: l, sizeAsked: &asked}}))
	return asked
}

// rows gives a row for each container.
func (l *containerList) rows(c *cli.Context, store *storage.Store, found []container.Found) ([]containerRow, error) {
	if len(found) == 0 {
		return nil, nil
	}
	images, err := store.Layout().List()
	if err != nil {
		return nil, err
	}
	named := nameImages(store.Layout(), images)
	rows := make([]containerRow, 0, len(found))
	for _, f := range found {
		rows = append(rows, containerRow{list: l, Found: f, image: named.of(f.Config)})
	}
	if !l.sized {
		return rows, nil
	}
	sizes, inside, err := writtenBy(c, store, found)
	if inside {
		return nil, errInside
	}
	for i, size := range sizes {
		rows[i].written, rows[i].imageSize = size, named.sizes[digest.Digest(found[i].Config.ImageID)]
	}
	return rows, err
}
