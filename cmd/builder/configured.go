package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/settings"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/snapshot"
)

// loadSettings reads the user's configuration and the machine's into the
// environment. Where the store that would count can't be one, it gives that place.
func loadSettings() (noStore string, mistake error) {
	mistake = settings.Load(settings.Checks{
		flagRoot: func(dir string) error {
			err := checkRoot(dir)
			if set := os.Getenv(storage.RootEnv); err != nil && noStore == "" && (set == "" || set == dir) {
				noStore = dir
			}
			return err
		},
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
	return noStore, mistake
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

// Where the mistake in the configuration is in the app's metadata, and the place that
// it names for a store and that can't be one.
const (
	mistakeKey = "mistake"
	noStoreKey = "no store"
)

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

// configuredRoot is storeRoot, but where the configuration names what can't be a store
// gives that, not another place that it leaves.
func configuredRoot(c *cli.Context) (string, error) {
	root, _ := c.App.Metadata[noStoreKey].(string)
	if root == "" || c.String(flagRoot) != os.Getenv(storage.RootEnv) { // the flag wins
		return storeRoot(c)
	}
	return filepath.Abs(root)
}

// checkDriver tells that a storage driver isn't known.
func checkDriver(name string) error {
	switch snapshot.Driver(name) {
	case "", "fuse", snapshot.Fuse, snapshot.Overlay, snapshot.VFS:
		return nil
	}
	return fault.New("choose fuse-overlayfs, overlay or vfs", "unknown storage driver %q", name)
}
