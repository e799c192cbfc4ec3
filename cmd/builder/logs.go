package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/cache"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Category:  categoryBuild,
		Usage:     "Print the whole output of a build's step",
		ArgsUsage: "STEP",
		Action:    logs,
	}
}

// logs prints what a step's command printed, whether or not a build has shown it.
func logs(c *cli.Context) error {
	id, err := argument(c, "the id of a step, as a build prints it behind --->")
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		f, err := findLog(store.Cache(), id)
		if err != nil {
			return err
		}
		_, err = io.Copy(c.App.Writer, f)
		return errors.Join(err, f.Close())
	})
}

func findLog(c *cache.Cache, id string) (*os.File, error) {
	f, err := c.FindLog(strings.TrimPrefix(id, "sha256:"))
	switch {
	case errors.Is(err, cache.ErrAmbiguous):
		return nil, fault.New("give more digits", "%w", err)
	case errors.Is(err, cache.ErrNoOutput):
		return nil, fault.New("only RUN has output", "%w", err)
	case errors.Is(err, cache.ErrNotFound):
		return nil, fault.New(fmt.Sprintf("%s cache ls    # lists the cached steps", programName), "no output of a step %s is kept", id)
	}
	return f, err
}
