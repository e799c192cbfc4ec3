package main

import (
	"fmt"
	"log/slog"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/snapshot"
)

const (
	flagCacheLimit = "cache-limit"
	// mostCache bounds the default: a tenth of the disk, and no more than this.
	mostCache = 20_000_000_000
	// unlimited is the value that sets no bound.
	unlimited = "none"
)

func cacheLimitFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagCacheLimit, Hidden: true, EnvVars: []string{"BUILDER_CACHE_LIMIT"},
		Usage: "keep the cache within `SIZE`, such as 5GB, or none",
	}
}

// cacheLimit gives how many bytes the cache of the store in root may hold, -1 for
// any number.
func cacheLimit(c *cli.Context, root string) (int64, error) {
	text := c.String(flagCacheLimit)
	if text == "" {
		var fs unix.Statfs_t
		if root == "" || unix.Statfs(root, &fs) != nil {
			return mostCache, nil
		}
		return min(mostCache, int64(fs.Blocks*uint64(fs.Bsize))/10), nil
	}
	limit, err := parseCacheLimit(text)
	if err != nil {
		return 0, usageError(c.Command.HelpName, "--%s %w", flagCacheLimit, err)
	}
	return limit, nil
}

// parseCacheLimit reads a limit that is written: -1 for none.
func parseCacheLimit(text string) (int64, error) {
	if text == unlimited {
		return -1, nil
	}
	bytes, err := units.FromHumanSize(text)
	if err != nil || bytes < 0 {
		return 0, fmt.Errorf("%q is no size, such as 5GB, and not none", text)
	}
	return bytes, nil
}

// boundCache keeps the cache within its limit after a build that has made trees.
// What stands in its way doesn't make the build fail.
func boundCache(c *cli.Context, store *storage.Store, made []snapshot.Key) {
	if c.Err() != nil {
		_ = store.Cache().ForgetTotal() // whoever interrupts doesn't wait: the next build measures
		return
	}
	limit, err := cacheLimit(c, store.Root())
	if err == nil && limit < 0 {
		return
	}
	if err != nil {
		slog.Warn("the cache isn't kept within its limit", "error", err)
		return
	}
	p, err := store.Collector(true).Bound(c.Context, limit, made)
	if err != nil && c.Err() == nil {
		slog.Warn("the cache couldn't be kept within its limit", "error", err)
	}
	if len(p.Entries) > 0 {
		slog.Info("the cache was kept within its limit", "entries", len(p.Entries), "freed", format.Size(p.Bytes))
	}
}
