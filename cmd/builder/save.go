package main

import (
	"io"
	"slices"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// Formats that are directories, by podman's names.
const (
	ociDir    = "oci-dir"
	dockerDir = "docker-dir"
)

func saveCommand() *cli.Command {
	return &cli.Command{
		Name:      "save",
		Category:  categoryMore,
		Usage:     "Write images to an archive",
		ArgsUsage: "IMAGE...",
		Description: `
A docker-archive is for docker, podman and skopeo, whatever their age; the other
formats are oci-archive, and as directories oci-dir and docker-dir. A name
without a tag means all its tags.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, not the standard output"},
			&cli.StringFlag{
				Name: "format", Value: transport.DockerArchive,
				Usage: "`FORMAT`: docker-archive, oci-archive, oci-dir or docker-dir",
			},
			&cli.StringFlag{Name: "platform", Usage: "take the images for `OS/ARCH[/VARIANT]` alone"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show nothing of its progress"},
			// Layers go as they are: compressed, unless they were taken up otherwise.
			&cli.BoolFlag{Name: "compress", Hidden: true, Usage: "accepted with docker-dir, whose layers are compressed anyway", Action: func(c *cli.Context, compress bool) error {
				if compress && c.String("format") != dockerDir {
					return usageError(c.Command.HelpName, "--compress goes with --format %s alone", dockerDir)
				}
				return nil
			}},
		}, granted("multi-image-archive", "m"), ignored("uncompressed")),
		Action: coded(save),
	}
}

func save(c *cli.Context) error {
	if err := needSome(c, "image"); err != nil {
		return err
	}
	target := saved{format: c.String("format"), path: c.String("output")}
	if err := target.check(c.NArg()); err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		images, err := imagesToSave(c, store, c.Args().Slice(), c.String("platform"))
		if err != nil {
			return err
		}
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		w := startWatch(c, "Saving "+count(len(images), "image"), c.Bool("quiet"))
		defer w.end()
		o.Report = w.report
		return target.write(c, images, o)
	})
}

// imagesToSave finds images. A name without a tag means all tags of it, as docker
// has it; an image that is meant by its id or digest is saved without a name.
func imagesToSave(c *cli.Context, store *storage.Store, refs []string, wanted string) ([]layout.Image, error) {
	want, err := platform.Parse(wanted)
	if err != nil {
		return nil, err
	}
	var images []layout.Image
	for _, ref := range refs {
		found, err := findAll(c, store, ref)
		if err != nil {
			return nil, err
		}
		for _, img := range found {
			if wanted != "" && !isElsewhere(ref) {
				if img, err = forPlatform(store.Layout(), img, ref, want); err != nil {
					return nil, err
				}
			}
			images = append(images, img)
		}
	}
	return distinct(images), nil
}

func findAll(c *cli.Context, store *storage.Store, ref string) ([]layout.Image, error) {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil && reference.IsNameOnly(named) {
		if tagged, err := allTags(store, named); err != nil || len(tagged) > 0 {
			return tagged, err
		}
	}
	img, err := theImage(c, store, ref)
	if err != nil {
		return nil, err
	}
	if name, err := layout.ParseName(ref); err != nil || name != img.Name {
		img.Name = ""
	}
	return []layout.Image{img}, nil
}

// forPlatform gives an image as it is for a platform, alone.
func forPlatform(l *layout.Layout, img layout.Image, ref string, want v1.Platform) (layout.Image, error) {
	if img.Name != "" {
		ref = layout.Familiar(img.Name)
	}
	found, err := l.FindFor(ref, want)
	found.Name, found.Index = img.Name, nil
	return found, otherPlatform(err, ref, want)
}

// distinct drops what is there already: an image under the same name, and one
// without a name that has one elsewhere.
func distinct(images []layout.Image) []layout.Image {
	var kept []layout.Image
	for i, img := range images {
		same := func(o layout.Image) bool {
			return o.Manifest.Digest == img.Manifest.Digest && o.Name == img.Name
		}
		isNamed := func(o layout.Image) bool { return o.Manifest.Digest == img.Manifest.Digest && o.Name != "" }
		if slices.ContainsFunc(images[:i], same) || img.Name == "" && slices.ContainsFunc(images, isNamed) {
			continue
		}
		kept = append(kept, img)
	}
	return kept
}

// saved is what images are saved as.
type saved struct{ format, path string }

func (s saved) isDir() bool { return s.format == ociDir || s.format == dockerDir }

// check looks at it before anything is read.
func (s saved) check(images int) error {
	switch known := s.format == transport.DockerArchive || s.format == transport.OCIArchive; {
	case !known && !s.isDir():
		return fault.New("use docker-archive, oci-archive, oci-dir or docker-dir", "unknown archive format %q", s.format)
	case s.isDir() && s.path == "":
		return fault.New("name one: -o DIR", "--format %s needs a directory", s.format)
	case s.format == dockerDir && images > 1:
		return fault.New("save each to a directory of its own", "--format %s takes one image", s.format)
	case s.isDir():
		return nil
	}
	return checkArchiveOutput(s.path)
}

func (s saved) write(c *cli.Context, images []layout.Image, o transport.Options) error {
	if !s.isDir() {
		return writeArchive(c, s.path, func(out io.Writer) error {
			return transport.Save(c.Context, images, out, s.format, o)
		})
	}
	for _, img := range images {
		dest := "dir:" + s.path
		if s.format == ociDir {
			dest = "oci:" + s.path
			if img.Name != "" {
				dest += ":" + layout.Familiar(img.Name)
			}
		}
		if _, err := transport.Push(c.Context, img, dest, o); err != nil {
			return err
		}
	}
	return nil
}
