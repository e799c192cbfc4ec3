package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func pushCommand() *cli.Command {
	return &cli.Command{
		Name:      "push",
		Category:  categoryImages,
		Usage:     "Copy an image to a registry",
		ArgsUsage: "IMAGE [NAME[:TAG]]",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "all-tags", Aliases: []string{"a"}, Usage: "push all tags of a repository"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the name only"},
			&cli.StringFlag{Name: "digestfile", Usage: "write the manifest's digest to `FILE`"},
			&cli.StringFlag{Name: "platform", Usage: "push the image for `OS/ARCH[/VARIANT]` alone"},
		}, conversionFlags(), registryFlags(), contentTrust(), granted("remove-signatures")),
		Action: coded(push),
	}
}

// conversionFlags say what a push may change of an image.
func conversionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "make the manifest of `FORMAT`: oci or docker"},
		&cli.StringFlag{Name: "compression-format", Aliases: []string{"compression"}, Usage: "compress layers by `NAME`: gzip, zstd or none"},
		&cli.IntFlag{Name: "compression-level", Usage: "the compression's level `N`"},
		&cli.BoolFlag{Name: "force-compression", Usage: "compress those layers anew, too, that have it already"},
	}
}

// readConversion reads them.
func readConversion(c *cli.Context) (transport.Conversion, error) {
	conversion := transport.Conversion{
		Format:      layout.Format(c.String("format")),
		Compression: layer.Compression(c.String("compression-format")),
		Level:       c.Int("compression-level"),
		Force:       c.Bool("force-compression"),
	}
	if conversion.Format == "v2s2" {
		conversion.Format = layout.FormatDocker
	}
	most, known := highestLevel[conversion.Compression]
	switch {
	case !slices.Contains([]layout.Format{"", layout.FormatOCI, layout.FormatDocker}, conversion.Format):
		return conversion, usageError(c.Command.HelpName, "--format %q is neither oci nor docker", conversion.Format)
	case conversion.Compression == "" && (conversion.Level != 0 || conversion.Force):
		return conversion, usageError(c.Command.HelpName, "--compression-level and --force-compression need --compression-format")
	case conversion.Compression != "" && !known:
		return conversion, usageError(c.Command.HelpName, "--compression-format %q is none of gzip, zstd, none", conversion.Compression)
	case c.IsSet("compression-level") && (conversion.Level < 1 || conversion.Level > most):
		return conversion, usageError(c.Command.HelpName, "--compression-level %d: %s has levels from 1 to %d", conversion.Level, conversion.Compression, most)
	}
	return conversion, nil
}

func push(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usageError(c.Command.HelpName, "%s takes an image, and perhaps another name to push it to", c.Command.HelpName)
	}
	ref, dest := c.Args().Get(0), c.Args().Get(1)
	if dest == "" {
		dest = ref
	}
	dest = strings.TrimPrefix(dest, "docker://")
	if c.Bool("all-tags") {
		return pushAll(c, ref)
	}
	if c.NArg() == 1 && reference.IsNameOnly(perhapsName(dest)) && !c.Bool("quiet") {
		if _, err := fmt.Fprintln(c.App.Writer, "Using default tag: latest"); err != nil {
			return err
		}
	}
	return withStore(c, func(store *storage.Store) error {
		img, err := imageToPush(c, store, ref)
		if err == nil && c.NArg() == 1 && isUnnamed(c, img, ref) {
			err = fault.New("say where it is to go: builder push "+ref+" NAME[:TAG]", "An image does not exist locally with the tag: %s", ref)
		}
		if err != nil {
			return err
		}
		pushed, err := pushShown(c, store, dest, []pushedTo{{img, dest}})
		if err != nil {
			return err
		}
		if file := c.String("digestfile"); file != "" {
			return os.WriteFile(file, []byte(pushed.Digest), 0o644)
		}
		return nil
	})
}

// perhapsName gives what isn't a name as one with everything.
func perhapsName(ref string) reference.Named {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return mustParse("scratch:no")
	}
	return named
}

// isUnnamed tells whether an image was found by something else than a name, which so
// doesn't say where to push it.
func isUnnamed(c *cli.Context, img layout.Image, ref string) bool {
	if isElsewhere(ref) || strings.Contains(ref, "@") || c.String("platform") != "" {
		return false
	}
	full, err := layout.ParseName(ref)
	return err != nil || full != img.Name
}

// imageToPush finds an image, for a platform where one is asked for.
func imageToPush(c *cli.Context, store *storage.Store, ref string) (layout.Image, error) {
	img, err := imageFor(c, store, ref)
	if errors.Is(err, layout.ErrUnknown) && !isElsewhere(ref) {
		err = fault.New("see what is there: builder images", "An image does not exist locally with the tag: %s", ref)
	}
	return img, err
}

// pushedTo is an image and where it is to go.
type pushedTo struct {
	img  layout.Image
	dest string
}

// pushAll pushes every tag that a repository has here.
func pushAll(c *cli.Context, repository string) error {
	named, err := reference.ParseNormalizedNamed(repository)
	switch {
	case err != nil:
		_, err := layout.ParseName(repository)
		return err
	case c.NArg() > 1 || !reference.IsNameOnly(named):
		return usageError(c.Command.HelpName, "tag can't be used with --all-tags/-a")
	case c.IsSet("digestfile") || c.IsSet("platform"):
		return usageError(c.Command.HelpName, "--digestfile and --platform are for one image: leave --all-tags out")
	}
	return withStore(c, func(store *storage.Store) error {
		tagged, err := allTags(store, named)
		if err != nil {
			return err
		}
		var all []pushedTo
		for _, img := range tagged {
			all = append(all, pushedTo{img, img.Name})
		}
		if len(all) == 0 {
			return fault.New("see what is there: builder images",
				"An image does not exist locally with the tag: %s", layout.Familiar(named.Name()+":latest"))
		}
		slices.SortFunc(all, func(a, b pushedTo) int { return strings.Compare(a.dest, b.dest) })
		_, err = pushShown(c, store, named.Name(), all)
		return err
	})
}

// pushShown pushes images to one repository or place, and shows their way. It
// gives the last one's descriptor there.
func pushShown(c *cli.Context, store *storage.Store, place string, images []pushedTo) (last v1.Descriptor, err error) {
	heading, full, err := pushHeading(place)
	if err != nil {
		return last, err
	}
	p, err := newProgress(c, strings.Replace(heading, "The push refers to", "Pushing to", 1), false)
	if err != nil {
		return last, err
	}
	o, err := transportOptions(c, store)
	if err != nil {
		return last, err
	}
	o.Platform = c.String("platform")
	if o.Conversion, err = readConversion(c); err != nil {
		return last, err
	}
	if _, err := fmt.Fprintln(p.out, heading); err != nil {
		return last, err
	}
	for _, to := range images {
		if last, err = pushOne(c, p, to, o); err != nil {
			return last, err
		}
	}
	if p.form == progressQuiet {
		_, err = fmt.Fprintln(c.App.Writer, full)
	}
	return last, err
}

// pushOne pushes an image below a heading.
func pushOne(c *cli.Context, p *progress, to pushedTo, o transport.Options) (v1.Descriptor, error) {
	_, dest, err := pushHeading(to.dest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	shown := p.display(c, false, nil)
	way := pushTransfer(shown, p, dest)
	o.Report = way.report
	pushed, err := transport.Push(c.Context, to.img, dest, o)
	if err == nil {
		err = way.arrived(to.img, true)
	}
	if err := shown.settle(err); err != nil {
		return pushed, err
	}
	_, err = fmt.Fprintln(p.out, pushedLine(dest, pushed))
	return pushed, err
}

// pushedLine is docker's last line of a push: "v2: digest: sha256:… size: 528".
func pushedLine(dest string, pushed v1.Descriptor) string {
	place := "" // of a push to no tag
	if _, tag := splitName(dest); !strings.Contains(dest, "@") {
		place = tag + ": "
	}
	return fmt.Sprintf("%sdigest: %s size: %d", place, pushed.Digest, pushed.Size)
}

// pushHeading says where an image goes, and gives the destination's full form.
func pushHeading(dest string) (heading, full string, err error) {
	if to, elsewhere := transport.ParseSource(dest); elsewhere {
		return "The push refers to " + to.String(), dest, nil
	}
	full, err = layout.ParseName(dest)
	if err != nil {
		return "", "", err
	}
	return fmt.Sprintf("The push refers to repository [%s]", mustParse(full).Name()), full, nil
}
