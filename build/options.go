package build

import (
	"context"
	"io"
	"os/exec"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/stage/sshagent"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Options is what the user asked for.
type Options struct {
	// ContextDir is the build context: a directory, or what has to be fetched,
	// as context.IsRemote tells. "" is an empty one.
	ContextDir string
	// ContextSub is the directory of a context that is fetched which is meant, ""
	// for all of it.
	ContextSub string
	// Stdin is the archive where ContextDir is "-".
	Stdin io.Reader
	// Contexts are further contexts by their names: directories, addresses to
	// fetch from, docker-image://NAME, oci-layout://DIR[:TAG|@DIGEST] or
	// target:STAGE. FROM, COPY --from and mounts can name them, and they go
	// before stages and images.
	Contexts map[string]string
	// Dockerfile is the file's path as given by -f, or "" for the default
	// names in the context. Where Source is set it is only a name for errors.
	Dockerfile string
	// Source is the Dockerfile's text where it was read from standard input.
	Source []byte
	// IgnoreFile is the path of a file that is read in place of the build
	// context's .dockerignore; "" for none.
	IgnoreFile string
	// From takes the place of the first FROM's image where it is set.
	From string
	// Tags are the image's names; the first is the one that is reported first.
	Tags []string
	// Manifest is the manifest list that the image is added to, which is made where
	// there is none. "" is none.
	Manifest string
	// Target names the last stage to build; "" is the last of the file.
	Target string
	// Platform is what the image is built for, in its usual form. The zero value
	// leaves it to the base images, which are this machine's if they can be.
	Platform v1.Platform
	// BuildArgs are the values of ARGs.
	BuildArgs map[string]string
	// Trees take the target's file system. With NoImage nothing else comes of
	// the build.
	Trees   []Tree
	NoImage bool
	// Annotations are those of the manifest, which only OCI's format has.
	Annotations map[string]string
	// Labels are added to the image, in this order, each KEY=VALUE.
	Labels []string
	// Env, each NAME=VALUE, is set above the first instruction of each stage that
	// isn't built upon another one. UnsetEnv are variables that the image shall
	// lack in the end, and UnsetLabels those that it doesn't inherit.
	Env, UnsetEnv, UnsetLabels []string
	// NoCache runs every step, and makes its result the cached one.
	NoCache bool
	// NoCacheFor names the stages whose steps are all executed.
	NoCacheFor []string
	// GitModes takes of a context file's mode the executable bit only, as git
	// stores it.
	GitModes bool
	// Pull asks the registry for each base image even if it is present.
	Pull bool
	// NeverPull asks no registry for one, even if it is absent.
	NeverPull bool
	// Format is that of config and manifest.
	Format layout.Format
	// Compression and Level say how layers are packed. A zero level is the
	// compression's default. ForceCompression packs those of the base image so
	// too, where theirs is another compression.
	Compression      layer.Compression
	Level            int
	ForceCompression bool
	// Squash makes one layer of several.
	Squash Squash
	// RewriteTimes says whether the epoch is the time of what is in the layers
	// too, or else of the image's config alone. Nil is the first, where there is
	// an epoch; without one, what is asked for can't be done.
	RewriteTimes *bool
	// Epoch, where set, is the time of everything in the image (--timestamp);
	// nil leaves it to SOURCE_DATE_EPOCH of the build arguments and the file.
	Epoch *time.Time
	// Network is the network of RUN; without a mode, the best that the machine
	// has.
	Network network.Choice
	// Ulimits, ShmSize (bytes; 0 is the default), AddHosts (lines of
	// /etc/hosts), DNS and Proxy (NAME=VALUE) are settings of every RUN.
	Ulimits  []sandbox.Ulimit
	ShmSize  int64
	AddHosts []string
	DNS      network.DNS
	Proxy    []string
	// Trust are the authorities that every RUN is shown.
	Trust trust.Authorities
	// Secrets and SSH are what RUN --mount=type=secret and type=ssh may ask for,
	// by id.
	Secrets map[string]stage.Secret
	SSH     map[string]sshagent.Access
	// CapAdd and CapDrop change the capabilities of every RUN, and Security what
	// else confines it; Volumes and Devices are what every RUN sees of the host.
	CapAdd, CapDrop []string
	Security        sandbox.Security
	Volumes         []stage.HostMount
	Devices         []stage.HostDevice
	// EmulateIDs has every RUN believe in ids that aren't mapped, where a single
	// one is.
	EmulateIDs bool
	// Limits are those of each RUN by itself.
	Limits cgroup.Limits
	// Allow is what the Dockerfile may take by itself.
	Allow Entitlements
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
	// Pull brings an image into the store: the one for a platform, or with "" the
	// one for this machine, if there is one. It calls coming, perhaps more than
	// once, where layers have to be fetched.
	// It is nil outside a namespace as well.
	Pull func(ctx context.Context, name, platform string, coming func()) (layout.Image, error)
	// Adopt brings an image of another OCI layout into the store, by DIR,
	// DIR:TAG or DIR@DIGEST. It is nil outside a namespace as well.
	Adopt func(ctx context.Context, ref, platform string) (layout.Image, error)
	// AsCaller prepares a program that wants to know the user who called, such
	// as ssh for a git repository. It may be nil.
	AsCaller func(*exec.Cmd)
}
