package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

func imagesCommand() *cli.Command {
	return &cli.Command{
		Name:      "images",
		Category:  categoryImages,
		Usage:     "List images",
		ArgsUsage: "[REPOSITORY[:TAG]]",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that builds went through, a step each"},
			&cli.BoolFlag{Name: "digests", Usage: "also what registries know each image by"},
			&cli.StringSliceFlag{
				Name: "filter", Aliases: []string{"f"},
				Usage: "`KEY=VALUE`: " + strings.Join(layout.Filters, ", "),
			},
			&cli.StringFlag{Name: "format", Usage: "print by `TEMPLATE`: '{{.ID}} {{.Tag}}', 'table {{.ID}}', json"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "print whole ids"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
		}, laterBools("tree")),
		Action: coded(images),
	}
}

func images(c *cli.Context) error {
	if c.NArg() > 1 {
		return usageError(c.Command.HelpName, "%s takes at most one repository", c.Command.HelpName)
	}
	set, err := filter.Parse(c.StringSlice("filter"))
	if err != nil {
		return err
	}
	if pattern := c.Args().First(); pattern != "" {
		set.Add("reference", pattern)
	}
	list := &imageList{
		quiet: c.Bool("quiet"), digests: c.Bool("digests"), whole: c.Bool("no-trunc"),
		format: strings.TrimSpace(c.String("format")), now: time.Now(),
	}
	return withStore(c, func(store *storage.Store) error {
		found, err := listed(c, store)
		if err != nil {
			return err
		}
		if found, err = store.Layout().Select(found, set); err != nil {
			return err
		}
		if err := list.print(c.App.Writer, layout.Summarize(found)); err != nil {
			return err
		}
		if len(found) == 0 {
			return hintImageCommand(c)
		}
		return nil
	})
}

// listed gives the images that there are, under each of their names, and with
// --all those that builds went through.
func listed(c *cli.Context, store *storage.Store) ([]layout.Image, error) {
	list, err := store.Layout().List()
	if err != nil || !c.Bool("all") {
		return list, err
	}
	between, err := intermediates(c, store, list)
	return append(list, between...), err
}

// intermediates gives the images that builds of those in list went through.
func intermediates(c *cli.Context, store *storage.Store, list []layout.Image) ([]layout.Image, error) {
	mapping, err := detect(c)
	if err != nil {
		return nil, err
	}
	return build.Intermediates(build.Env{Store: store, ExactOwners: mapping.Faithful()}, list)
}

// hintImageCommand helps who has written "images ls" for "image ls", as docker
// does.
func hintImageCommand(c *cli.Context) error {
	pattern, own := c.Args().First(), c.Command.Name
	group := imageCommand()
	means := func(s *cli.Command) bool { return s.HasName(pattern) }
	if own != "images" || pattern == own || !slices.ContainsFunc(group.Subcommands, means) {
		return nil
	}
	_, err := fmt.Fprintf(c.App.ErrWriter, "\nNo images found matching %q: did you mean \"%s %s %[1]s\"?\n", pattern, programName, group.Name)
	return err
}

// imageList is how images prints them.
type imageList struct {
	quiet, digests, whole bool
	format                string
	now                   time.Time
}

// The columns of docker's table, and of its older raw form.
const (
	imageDigestColumn = `\t{{.Digest}}`
	imageRaw          = `repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n`
	imageRawDigest    = `repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n`
)

func (l *imageList) print(w io.Writer, images []layout.Summary) error {
	if l.format == "" || l.format == format.Table {
		if l.quiet {
			return l.printIDs(w, images)
		}
		return format.Rows(w, l.table(images))
	}
	template, err := format.Parse(l.template(), "")
	if err != nil {
		return err
	}
	return format.Print(template, w, imageHeadings, slices.Values(l.rows(images)))
}

// template is what --format means beside the other flags.
func (l *imageList) template() string {
	switch {
	case l.format == "raw" && l.quiet:
		return "image_id: {{.ID}}"
	case l.format == "raw" && l.digests:
		return imageRawDigest
	case l.format == "raw":
		return imageRaw
	case strings.HasPrefix(l.format, format.Table) && l.digests && !strings.Contains(l.format, "{{.Digest}}"):
		return l.format + imageDigestColumn
	}
	return l.format
}

// printIDs prints the id of each row, with nothing else made of it.
func (l *imageList) printIDs(w io.Writer, images []layout.Summary) error {
	var text strings.Builder
	for _, row := range l.rows(images) {
		text.WriteString(row.ID())
		text.WriteByte('\n')
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// table is docker's table, the headings first. It is made without a template,
// which would take longer than all else at ten thousand images.
func (l *imageList) table(images []layout.Summary) [][]string {
	rows := l.rows(images)
	lines := make([][]string, 0, len(rows)+1)
	lines = append(lines, l.line("REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"))
	for _, r := range rows {
		lines = append(lines, l.line(r.repository, r.tag, r.digest, r.ID(), format.Ago(r.image.Created, l.now), r.Size()))
	}
	return lines
}

func (l *imageList) line(repository, tag, digest, id, created, size string) []string {
	if l.digests {
		return []string{repository, tag, digest, id, created, size}
	}
	return []string{repository, tag, id, created, size}
}
