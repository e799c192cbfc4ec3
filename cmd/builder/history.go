package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

func historyCommand() *cli.Command {
	return &cli.Command{
		Name:      "history",
		Category:  categoryMore,
		Usage:     "Show how an image came to be",
		ArgsUsage: "IMAGE",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "print by `TEMPLATE`: '{{.ID}} {{.Size}}', 'table {{.ID}}', json"},
			&cli.BoolFlag{Name: "human", Aliases: []string{"H"}, Value: true, Usage: "print sizes and dates as people say them"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "print whole ids and commands"},
			&cli.StringFlag{Name: "platform", Usage: "the image for `OS/ARCH[/VARIANT]`"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
		},
		Action: coded(history),
	}
}

func history(c *cli.Context) error {
	if c.NArg() != 1 {
		return usageError(c.Command.HelpName, "%s takes one image", c.Command.HelpName)
	}
	template, err := format.Parse(historyFormat(c), "")
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		img, err := imageFor(c, store, c.Args().First())
		if err != nil {
			return err
		}
		steps, err := store.Layout().History(img)
		if err != nil {
			return err
		}
		rows := historyRows(img, steps, historyStyle{human: c.Bool("human"), whole: c.Bool("no-trunc"), now: time.Now()})
		if err := nameSteps(c, store, img, rows); err != nil {
			return err
		}
		return format.Print(template, c.App.Writer, historyHeadings, slices.Values(rows))
	})
}

// historyFormat is what --format means beside the other flags.
func historyFormat(c *cli.Context) string {
	text := strings.TrimSpace(c.String("format"))
	switch {
	case text != "" && text != format.Table:
		return text
	case c.Bool("quiet"):
		return "{{.ID}}"
	case !c.Bool("human"):
		return `table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`
	}
	return `table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`
}

// historyStyle is how history prints.
type historyStyle struct {
	human, whole bool
	now          time.Time
}

// historyRow is one line of history. Its methods are what templates name.
type historyRow struct {
	style historyStyle
	id    digest.Digest // "" where no image stands for the step
	step  layout.Step
}

var historyHeadings = map[string]string{
	"Comment": "COMMENT", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "CreatedSince": "CREATED", "ID": "IMAGE", "Size": "SIZE",
}

func historyRows(img layout.Image, steps []layout.Step, style historyStyle) []historyRow {
	rows := make([]historyRow, len(steps))
	for i, step := range steps {
		rows[i] = historyRow{style: style, step: step}
	}
	if len(rows) > 0 {
		rows[0].id = img.ID
	}
	return rows
}

// nameSteps gives the lines the ids of the images that there were then: of the steps
// of a build that this store knows, and of its base.
func nameSteps(c *cli.Context, store *storage.Store, img layout.Image, rows []historyRow) error {
	mapping, err := detect(c)
	if err != nil {
		return err
	}
	ids, err := build.HistoryIDs(build.Env{Store: store, ExactOwners: mapping.Faithful()}, img.ID)
	for place, id := range ids {
		if i := len(rows) - 1 - place; i > 0 && i < len(rows) {
			rows[i].id = id
		}
	}
	return err
}

func (r historyRow) ID() string {
	switch {
	case r.id == "":
		return "<missing>"
	case r.style.whole:
		return r.id.String()
	}
	return format.ShortID(r.id)
}

// created is to the second, and 1970 where the step has no date.
func (r historyRow) created() time.Time {
	if r.step.Created == nil {
		return time.Unix(0, 0)
	}
	return time.Unix(r.step.Created.Unix(), 0)
}

func (r historyRow) CreatedAt() string { return r.created().Format(time.RFC3339) }

// CreatedSince is not available, in docker's words, of a time so early that it is
// none: a reproducible build's.
func (r historyRow) CreatedSince() string {
	if !r.style.human {
		return r.CreatedAt()
	}
	if !r.created().After(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		return notCounted
	}
	return format.Ago(r.created(), r.style.now)
}

// CreatedBy is on one line, as far as it is cut: a here-document has several.
func (r historyRow) CreatedBy() string {
	const shown = 45
	if r.style.whole {
		return strings.ReplaceAll(r.step.CreatedBy, "\t", " ")
	}
	blank := func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}
	return format.Ellipsis(strings.Map(blank, r.step.CreatedBy), shown)
}

func (r historyRow) Size() string {
	if !r.style.human {
		return strconv.FormatInt(r.step.Size, 10)
	}
	return format.Size(r.step.Size)
}

func (r historyRow) Comment() string { return r.step.Comment }

// MarshalJSON gives all fields.
func (r historyRow) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct{ Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string }{
		r.Comment(), r.CreatedAt(), r.CreatedBy(), r.CreatedSince(), r.ID(), r.Size(),
	})
}
