package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/build/fetch"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Category:  categoryMore,
		Usage:     "Make an image from the tarball of a root file system",
		ArgsUsage: "FILE|URL|- [NAME[:TAG]]",
		Description: `
The tarball may be compressed by gzip, bzip2, xz or zstd. Instructions that
--change applies are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
STOPSIGNAL, USER, VOLUME and WORKDIR.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{
				Name: "change", Aliases: []string{"c"}, Usage: "apply a Dockerfile `INSTRUCTION` to the image",
			},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the history"},
			&cli.StringFlag{Name: "platform", Usage: "`OS/ARCH[/VARIANT]` that the image is for"},
		},
		Action: coded(importTarball),
	}
}

func importTarball(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usageError(c.Command.HelpName, "%s takes a tarball, and perhaps a name", c.Command.HelpName)
	}
	path, name := c.Args().Get(0), c.Args().Get(1)
	o := transport.ImportOptions{Name: name, Message: c.String("message")}
	changes, err := build.ParseChanges(c.StringSlice("change"))
	if err != nil {
		return err
	}
	o.Change = changes.Apply
	if err := checkNewName(name, "import"); err != nil { // before much is read
		return err
	}
	in, err := openTarball(c, path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	defer in.watch.end()
	o.Source = in.source
	return withArchive(c, func(store *storage.Store) error {
		if o.Options, err = transportOptions(c, store); err != nil {
			return err
		}
		o.Platform = c.String("platform")
		id, err := transport.Import(c.Context, in, o)
		in.watch.end()
		if err != nil {
			return fault.At(in.place, err)
		}
		_, err = fmt.Fprintln(c.App.Writer, id)
		return err
	})
}

// checkNewName looks at the name that a new image is to have, or "". doing is what
// makes it.
func checkNewName(name, doing string) error {
	if name == "" {
		return nil
	}
	canonical, err := layout.ParseName(name)
	if err == nil && strings.Contains(canonical, "@") {
		err = fault.New("give it a name with a tag", "cannot %s digest reference: %s", doing, name)
	}
	return err
}

// tarball is what is imported.
type tarball struct {
	*archiveInput
	source string // as the history has it
	watch  *watch
}

// openTarball opens a file, or asks a server for one, which is shown as it comes.
// In the history a file is "-", as docker has it: its name means nothing on
// another machine.
func openTarball(c *cli.Context, path string) (*tarball, error) {
	if !strings.HasPrefix(path, "http://") && !strings.HasPrefix(path, "https://") {
		in, err := openInput(c.Context, path)
		return &tarball{archiveInput: in, source: "-"}, err
	}
	address := fetch.Redacted(path)
	download, err := fetch.Get(c.Context, path)
	if err != nil {
		return nil, notFetched(address, err)
	}
	w := startWatch(c, "Downloading from "+address, false)
	if w == nil {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "Downloading from %s\n", address)
	}
	from := &watchedReader{Reader: download, watch: w, total: download.Size}
	in := &archiveInput{brokenOff{from, address}, download, address}
	return &tarball{archiveInput: in, source: address, watch: w}, nil
}

// brokenOff tells what to do about a download that broke off.
type brokenOff struct {
	io.Reader
	address string
}

func (r brokenOff) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = notFetched(r.address, err)
	}
	return n, err
}

// notFetched has no word of a build in its remedy.
func notFetched(address string, err error) error {
	var known *fault.Error
	if !errors.As(err, &known) {
		return err
	}
	return &fault.Error{Place: known.Place, Err: known.Err, Remedy: "look at it: curl -I " + address}
}
