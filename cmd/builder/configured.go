package main

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/settings"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage/snapshot"
)

// loadSettings reads the user's configuration and the machine's into the
// environment.
func loadSettings() error {
	return settings.Load(settings.Checks{
		flagRoot: checkRoot,
		flagIsolation: func(s string) error {
			_, err := isolation.Parse(s)
			return err
		},
		flagDriver: checkDriver,
		"network": func(s string) error {
			_, err := network.ParseChoice(s)
			return err
		},
		flagCacheLimit: func(s string) error {
			if _, err := parseCacheLimit(s); err != nil {
				return fault.New("choose a size, such as 5GB, or none", "%w", err)
			}
			return nil
		},
		flagCA: func(s string) error {
			_, _, err := trust.Read(authorityFiles([]string{s}), time.Now())
			return err
		},
	}, settings.User(), settings.Machine)
}

// configuredNetwork is what RUNs and containers get where no flag says otherwise;
// loadSettings has looked at it.
func configuredNetwork() network.Choice {
	asked, _ := network.ParseChoice(os.Getenv(settings.Variable("network")))
	return asked
}

// checkRoot tells that no store can be in a place.
func checkRoot(dir string) error {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return fault.New("name a directory, or one that can be made", "%s is not a directory", dir)
	}
	return nil
}

// mistakeKey is where the mistake in the configuration is in the app's metadata.
const mistakeKey = "mistake"

// unconfigured are commands that work whatever stands in the configuration, as every
// help does.
var unconfigured = []string{"doctor", "version", "completion", "bash", "zsh", "fish", "man"}

// configured is an action that fails where there is a mistake in the configuration.
func configured(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := mistakeIn(c); err != nil {
			return err
		}
		return action(c)
	}
}

func mistakeIn(c *cli.Context) error {
	err, _ := c.App.Metadata[mistakeKey].(error)
	return err
}

// checkDriver tells that a storage driver isn't known.
func checkDriver(name string) error {
	switch snapshot.Driver(name) {
	case "", "fuse", snapshot.Fuse, snapshot.Overlay, snapshot.VFS:
		return nil
	}
	return fault.New("choose fuse-overlayfs, overlay or vfs", "unknown storage driver %q", name)
}
