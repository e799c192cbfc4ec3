package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
)

// withArchive is withStore for a command about an archive of images: what a
// failed one has brought into the store goes at once where nobody else may count on
// it.
func withArchive(c *cli.Context, fn func(*storage.Store) error) error {
	return withStore(c, func(store *storage.Store) error {
		err := fn(store)
		return errors.Join(err, store.Sweep(context.WithoutCancel(c.Context), userns.Inside()))
	})
}

// archiveInput is an archive to be read.
type archiveInput struct {
	io.Reader
	io.Closer
	place string // as errors have it
}

// openInput opens a file, or the standard input for "-". Nobody waits for what
// doesn't come, once the command is told to end.
func openInput(ctx context.Context, path string) (*archiveInput, error) {
	in, place := os.Stdin, "-"
	switch {
	case path != "-" && path != "":
		var err error
		if in, err = os.Open(path); err != nil {
			return nil, err
		}
		place = path
	case isTerminal(os.Stdin):
		return nil, fault.New("name a file, or redirect one: < FILE",
			"the standard input is a terminal, not an archive")
	}
	if st, err := in.Stat(); err == nil && st.Mode().IsRegular() {
		return &archiveInput{in, in, place}, nil
	}
	return &archiveInput{interruptible(ctx, in), in, place}, nil
}

// checkArchiveOutput looks at where an archive is to go: a file, or the standard output.
// Nothing is written to a terminal.
func checkArchiveOutput(path string) error {
	if path == "" {
		if isTerminal(os.Stdout) {
			return fault.New("builder save -o FILE …, or redirect the output: > FILE",
				"cowardly refusing to save to a terminal. Use the -o flag or redirect")
		}
		return nil
	}
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return fault.New("mkdir -p "+dir, "invalid output path: directory %q does not exist", dir)
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fault.New("name a file in it", "invalid output path: %q is a directory", path)
	}
	return nil
}

// writeArchive has an archive written to a file, or for "" to the standard
// output.
func writeArchive(c *cli.Context, path string, write func(io.Writer) error) error {
	if path == "" {
		return write(c.App.Writer)
	}
	return writeFile(path, write)
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
		return fmt.Errorf("write %s: %w", path, err)
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
