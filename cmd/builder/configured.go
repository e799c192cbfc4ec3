package main

import (
	"time"

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
				return fault.New("write "+flagCacheLimit+` = "5GB"`, "%w", err)
			}
			return nil
		},
		flagCA: func(s string) error {
			_, _, err := trust.Read(authorityFiles([]string{s}), time.Now())
			return err
		},
	}, settings.User(), settings.Machine)
}

// checkDriver tells that a storage driver isn't known.
func checkDriver(name string) error {
	switch snapshot.Driver(name) {
	case "", "fuse", snapshot.Fuse, snapshot.Overlay, snapshot.VFS:
		return nil
	}
	return fault.New("choose fuse-overlayfs, overlay or vfs", "unknown storage driver %q", name)
}
