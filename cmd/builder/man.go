package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

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
			return writeManual(newApp(c.App.Writer, c.App.ErrWriter), date).save(dir)
		},
	}
}

// save writes the pages into a directory. Second names are symbolic links.
func (p manualPages) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range p.text {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, page := range p.second {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(page, link); err != nil {
			return err
		}
	}
	return nil
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
