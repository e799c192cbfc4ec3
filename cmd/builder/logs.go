package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/cache"
)

// stepLists tells where the ids of steps are found.
const stepLists = programName + " cache ls    # lists the cached steps\n" +
	programName + " debug ls    # lists those that failed"

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
	if c.NArg() != 1 {
		return fault.New(stepLists, "%s takes exactly one argument: the id of a step, as a build prints it behind --->", c.Command.HelpName)
	}
	id := c.Args().First()
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
		return nil, fault.New(stepLists, "no output of a step %s is kept", id)
	}
	return f, err
}
