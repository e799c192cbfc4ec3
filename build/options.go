package build

import (
	"context"
	"time"

	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Options is what the user asked for.
type Options struct {
	// ContextDir is the build context's directory.
	ContextDir string
	// Dockerfile is the file's path as given by -f, or "" for the default
	// names in the context. Where Source is set it is only a name for errors.
	Dockerfile string
	// Source is the Dockerfile's text where it was read from standard input.
	Source []byte
	// Tags are the image's names; the first is the one that is reported first.
	Tags []string
	// Target names the last stage to build; "" is the last of the file.
	Target string
	// BuildArgs are the values of ARGs.
	BuildArgs map[string]string
	// Labels are added to the image, in this order, each KEY=VALUE.
	Labels []string
	// NoCache runs every step, and makes its result the cached one.
	NoCache bool
	// Pull asks the registry for each base image even if it is present.
	Pull bool
	// Format is that of config and manifest.
	Format layout.Format
	// Compression and Level say how layers are packed. A zero level is the
	// compression's default.
	Compression layer.Compression
	Level       int
	// Epoch, where set, is the time of everything in the image (--timestamp);
	// nil leaves it to SOURCE_DATE_EPOCH of the build arguments and the file.
	Epoch *time.Time
	// Network is the network of RUN: "" is the best that the machine has.
	Network network.Mode
	// Ulimits, ShmSize (bytes; 0 is the default), AddHosts (lines of
	// /etc/hosts), DNS and Proxy (NAME=VALUE) are settings of every RUN.
	Ulimits  []sandbox.Ulimit
	ShmSize  int64
	AddHosts []string
	DNS      network.DNS
	Proxy    []string
	// Jobs is the number of stages that run at once; 0 chooses it.
	Jobs int
}

// Env is what a build works with. Everything in it is owned by the caller.
type Env struct {
	Store *storage.Store
	// ExactOwners says that every id of an image can stand on disk, which a
	// mapping of a single id can't give.
	ExactOwners bool
	// Snapshots are the trees, and Sandbox runs commands over them. Both are
	// nil outside a user namespace: a build that then needs one ends with
	// ErrNamespace.
	Snapshots *snapshot.Store
	Sandbox   sandbox.Sandbox
	// Pull brings an image into the store.
	// It is nil outside a namespace as well.
	Pull func(ctx context.Context, name string) (layout.Image, error)
}
