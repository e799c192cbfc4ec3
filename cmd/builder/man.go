package main

import (
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/manual"
	"github.com/builder-oci/builder/internal/fault"
)

// manCommand writes the manual: for whoever packs or installs builder.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Category:  categoryMore,
		Hidden:    true,
		Usage:     "Write the manual's pages into a directory, such as ~/.local/share/man/man1",
		ArgsUsage: "DIR",
		Action: func(c *cli.Context) error {
			dir, err := argument(c, "a directory")
			if err != nil {
				return err
			}
			date, err := manualDate()
			if err != nil {
				return err
			}
			// Not the app that runs: the library adds flags of its own to that one.
			return manual.Write(newApp(c.App.Writer, c.App.ErrWriter), date).Save(dir)
		},
	}
}

// manualDate is the date that the pages bear: the same for the same sources,
// where whoever packs them says which.
func manualDate() (time.Time, error) {
	text := os.Getenv(epochEnv)
	if text == "" {
		return time.Now(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fault.New("set it to seconds since 1970", "%s=%q is not a number", epochEnv, text)
	}
	return time.Unix(seconds, 0), nil
}
