package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// registryFlags are those of all commands that speak with registries.
func registryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "tls-verify", Usage: "ask registries off this host to prove themselves by TLS"},
		&cli.StringFlag{Name: "authfile", Usage: "`FILE` with logins, as docker's config.json"},
		&cli.StringFlag{Name: "creds", Usage: "log in as `USER:PASSWORD`"},
	}
}

// puller gives a function that pulls images into store and prints their way. It
// may be called from several goroutines.
func puller(c *cli.Context, store *storage.Store, d display) func(ctx context.Context, name, platform string, coming func()) (layout.Image, error) {
	return func(ctx context.Context, name, platform string, coming func()) (layout.Image, error) {
		return pullFor(ctx, c, store, name, transport.Options{Platform: platform, Base: true}, func(canonical string) transfer {
			return announced{d.transfer(canonical), coming}
		})
	}
}

// announced calls coming where something is fetched.
type announced struct {
	transfer
	coming func()
}

func (a announced) report(e transport.Event) {
	if e.Kind == transport.Queued {
		a.coming()
	}
	a.transfer.report(e)
}

// adopter gives a function that takes up images of other OCI layouts.
func adopter(c *cli.Context, store *storage.Store) func(ctx context.Context, ref, platform string) (layout.Image, error) {
	return func(ctx context.Context, ref, platform string) (layout.Image, error) {
		o, err := transportOptions(c, store)
		if err != nil {
			return layout.Image{}, err
		}
		o.Platform = platform
		return transport.Adopt(ctx, ref, o)
	}
}

// pullImage pulls an image into store and shows its way.
func pullImage(ctx context.Context, c *cli.Context, store *storage.Store, name, platform string, show func(canonical string) transfer) (layout.Image, error) {
	return pullFor(ctx, c, store, name, transport.Options{Platform: platform}, show)
}

// pullFor is pullImage with what it is pulled for: the platform, and whether it
// is a base.
func pullFor(ctx context.Context, c *cli.Context, store *storage.Store, name string, as transport.Options, show func(canonical string) transfer) (layout.Image, error) {
	canonical, err := layout.ParseName(name)
	if err != nil {
		return layout.Image{}, err
	}
	want, err := platform.Parse(as.Platform)
	if err != nil {
		return layout.Image{}, err
	}
	before, err := store.Layout().FindFor(canonical, want)
	if err != nil && !errors.Is(err, layout.ErrUnknown) && !errors.Is(err, layout.ErrPlatform) && !errors.Is(err, layout.ErrAbsent) {
		return layout.Image{}, err
	}
	o, err := transportOptions(c, store)
	if err != nil {
		return layout.Image{}, err
	}
	way := show(canonical)
	c.App.Metadata[libraryKey].(*libraryLog).listen(way.report)
	o.Platform, o.Base, o.Report = as.Platform, as.Base, way.report
	img, err := transport.Pull(ctx, name, o) // as it is written: it may be an alias
	if err != nil {
		return img, err
	}
	return img, way.arrived(img, before.Manifest.Digest != img.Manifest.Digest)
}

// transportOptions reads registryFlags.
func transportOptions(c *cli.Context, store *storage.Store) (transport.Options, error) {
	o := transport.Options{
		Layout:   store.Layout(),
		AuthFile: c.String("authfile"),
		Creds:    c.String("creds"),
	}
	if c.IsSet("tls-verify") {
		verify := c.Bool("tls-verify")
		o.TLSVerify = &verify
	}
	session, err := store.Session()
	if err != nil {
		return o, err
	}
	o.Session = session.ID
	o.TempDir, err = session.TempDir()
	return o, err
}

// mustParse parses a name that layout.ParseName has taken.
func mustParse(name string) reference.Named {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		panic(err)
	}
	return named
}

// blobLines prints the way of an image's blobs, a line for each point.
type blobLines struct {
	out     io.Writer
	heading string
	words   map[transport.EventKind]string
	begun   bool
	told    map[digest.Digest]transport.EventKind
	err     error
}

// pushWords is what docker calls the points of a blob's way.
var pushWords = map[transport.EventKind]string{
	transport.Started: "Preparing",
	transport.Done:    "Pushed",
	transport.Exists:  "Layer already exists",
}

// report prints an event, once.
func (l *blobLines) report(e transport.Event) {
	word, known := l.words[e.Kind]
	if kind, again := l.told[e.Digest]; !known || again && kind == e.Kind {
		return
	}
	if l.told == nil {
		l.told = map[digest.Digest]transport.EventKind{}
	}
	l.told[e.Digest] = e.Kind
	l.begin()
	l.print("%s: %s", format.ShortID(e.Digest), word)
}

// begin prints the heading before the first line: where the image can't be had
// there is nothing to announce.
func (l *blobLines) begin() {
	if !l.begun {
		l.begun = true
		l.print("%s", l.heading)
	}
}

func (l *blobLines) print(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.out, format+"\n", args...)
	}
}

func pushCommand() *cli.Command {
	return &cli.Command{
		Name:      "push",
		Category:  categoryImages,
		Usage:     "Copy an image to a registry",
		ArgsUsage: "IMAGE [NAME[:TAG]]",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the name only"},
			&cli.StringFlag{Name: "digestfile", Usage: "write the manifest's digest to `FILE`"},
		}, registryFlags()...), laterBools("all-tags", "a")...),
		Action: push,
	}
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
	out := c.App.Writer
	if c.Bool("quiet") {
		out = io.Discard
	}
	return withStore(c, func(store *storage.Store) error {
		img, err := store.Layout().Find(ref)
		if err != nil {
			return err
		}
		pushed, err := pushImage(c, store, img, dest, false, out)
		if err != nil {
			return err
		}
		if file := c.String("digestfile"); file != "" {
			if err := os.WriteFile(file, []byte(pushed), 0o644); err != nil {
				return err
			}
		}
		if c.Bool("quiet") {
			if _, dest, err = pushHeading(dest); err == nil {
				_, err = fmt.Fprintln(c.App.Writer, dest)
			}
		}
		return err
	})
}

// pushImage copies an image to dest and prints its way as docker does. Insecure
// is --tls-verify=false.
func pushImage(c *cli.Context, store *storage.Store, img layout.Image, dest string, insecure bool, out io.Writer) (digest.Digest, error) {
	o, err := transportOptions(c, store)
	if err != nil {
		return "", err
	}
	if insecure {
		verify := false
		o.TLSVerify = &verify
	}
	lines := blobLines{out: out, words: pushWords}
	lines.heading, dest, err = pushHeading(dest)
	if err != nil {
		return "", err
	}
	o.Report = lines.report
	lines.begin()
	pushed, err := transport.Push(c.Context, img, dest, o)
	if err != nil {
		return "", err
	}
	place := "" // of a push to no tag
	if _, tag := splitName(dest); !strings.Contains(dest, "@") {
		place = tag + ": "
	}
	lines.print("%sdigest: %s size: %d", place, pushed, img.Target().Size)
	return pushed, lines.err
}

// pushHeading says where an image goes, and gives the destination's full form.
func pushHeading(dest string) (heading, full string, err error) {
	for _, scheme := range []string{"oci:", "dir:", "oci-archive:", "docker-archive:"} {
		if strings.HasPrefix(dest, scheme) {
			return "The push refers to " + dest, dest, nil
		}
	}
	full, err = layout.ParseName(dest)
	if err != nil {
		return "", "", err
	}
	return fmt.Sprintf("The push refers to repository [%s]", mustParse(full).Name()), full, nil
}
