package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Category:  categoryImages,
		Usage:     "Make an image from the tarball of a root file system",
		ArgsUsage: "FILE|- [NAME[:TAG]]",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the history"},
			&cli.StringFlag{Name: "platform", Usage: "`OS/ARCH[/VARIANT]` that the image is for"},
		}, later("change", "c")),
		Action: importTarball,
	}
}

func importTarball(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usageError(c.Command.HelpName, "%s takes a tarball, and perhaps a name", c.Command.HelpName)
	}
	path, name := c.Args().Get(0), c.Args().Get(1)
	if isRemote(path) {
		return notYet("a tarball from " + path)
	}
	in, source, err := openInput(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return withStore(c, func(store *storage.Store) error {
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		o.Platform = c.String("platform")
		id, err := transport.Import(c.Context, in, transport.ImportOptions{
			Options: o, Name: name, Source: source, Message: c.String("message"),
		})
		if err != nil {
			return fault.At(source, err)
		}
		_, err = fmt.Fprintln(c.App.Writer, id)
		return err
	})
}

// openInput opens a file, or the standard input for "-", which has that name in
// a history too.
func openInput(path string) (in *os.File, source string, err error) {
	if path == "-" || path == "" {
		if isTerminal(os.Stdin) {
			return nil, "", fault.New("name a file, or redirect one: < FILE", "the standard input is a terminal, not an archive")
		}
		return os.Stdin, "-", nil
	}
	in, err = os.Open(path)
	return in, path, err
}

func saveCommand() *cli.Command {
	return &cli.Command{
		Name:      "save",
		Category:  categoryImages,
		Usage:     "Write images to an archive",
		ArgsUsage: "IMAGE...",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, not the standard output"},
			&cli.StringFlag{
				Name: "format", Usage: "`FORMAT` of the archive: docker-archive or oci-archive",
				Value: transport.DockerArchive,
			},
		}, laterBools("compress", "multi-image-archive", "m"), later("platform")),
		Action:       save,
		BashComplete: completeImages,
	}
}

func save(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs at least one image", c.Command.HelpName)
	}
	path := c.String("output")
	if path == "" && isTerminal(os.Stdout) {
		return fault.New("name a file with -o, or redirect the output: > FILE", "refusing to write an archive to the terminal")
	}
	return withStore(c, func(store *storage.Store) error {
		var images []layout.Image
		for _, ref := range c.Args().Slice() {
			img, err := store.Layout().Find(ref)
			if err != nil {
				return err
			}
			images = append(images, img)
		}
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		write := func(w io.Writer) error {
			return transport.Save(c.Context, images, w, c.String("format"), o)
		}
		if path == "" {
			return write(c.App.Writer)
		}
		return writeFile(path, write)
	})
}

// writeFile writes a file of the user's under another name first, so that there
// is a whole one or none. What isn't a regular file is written as it is.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), atomicfile.Prefix+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:     "load",
		Category: categoryImages,
		Usage:    "Take up the images of an archive",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read from `FILE`, not the standard input"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing but the images"},
		}, later("platform")),
		Action: load,
	}
}

func load(c *cli.Context) error {
	if c.NArg() > 0 {
		return usageError(c.Command.HelpName, "%s takes no arguments; the archive is named by -i", c.Command.HelpName)
	}
	in, source, err := openInput(c.String("input"))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return withStore(c, func(store *storage.Store) error {
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		// What isn't this load's may be pruned while it lasts.
		if err := store.BeginLeases(); err != nil {
			return err
		}
		images, err := transport.Load(c.Context, in, o)
		if err != nil {
			return fault.At(source, err)
		}
		for _, img := range images {
			line := "Loaded image: " + layout.Familiar(img.Name)
			if img.Name == "" {
				line = "Loaded image ID: " + img.ID.String()
			}
			if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
				return err
			}
		}
		return nil
	})
}
