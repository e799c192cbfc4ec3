// Package stage executes the instructions of one stage: each takes a State,
// an image config and the tree on which it stands, to the next. An instruction
// that changes files has a key, made from all that its result depends on, and
// is executed only where no result with this key is known.
//
// A caller makes a Runner, starts from a State that FROM gives, and calls
// Runner.Step for each instruction. Run, Copy and Workdir change files; the
// types of config.go change only the config, and cost nothing.
package stage

import (
	"context"
	"errors"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage/sshagent"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// ErrNamespace says that a step has no known result, and that it can't be
// executed outside a user namespace.
var ErrNamespace = errors.New("the step has to be executed, which needs a user namespace")

// Instruction takes a state to the next one. The types of this package are
// all there are.
type Instruction interface {
	apply(ctx context.Context, r *Runner, st *State, at Step) error
}

// Runner holds what the instructions of a build work with. It is used by all
// its stages at once and owns none of its fields.
type Runner struct {
	Cache   *cache.Cache
	Layout  *layout.Layout
	Records *snapshot.Records
	// Snapshots, Sandbox and Networks are nil outside a user namespace: there
	// only steps with a known result succeed.
	Snapshots *snapshot.Store
	Sandbox   sandbox.Sandbox
	Networks  Networks
	Settings  Settings
	// Pack makes the blob of a layer whose entries are at hand, where no tree
	// of it will be needed.
	Pack func(ctx context.Context, tree snapshot.Key, written bool, src layer.Source) error
	// Made is told of each layer that was made, before the next step begins: it
	// is the last of the layers, which may be kept.
	Made func(layers []Layer)
	// Lease keeps steps and trees with these keys while the build goes on, if it
	// isn't nil; it is called before it counts that they are there.
	Lease func(keys ...digest.Digest) error
	// Report takes the events of all steps.
	Report func(Event)
	// Former gives what stood in a step's place in the last build of the same,
	// nil where nothing did; it may be nil itself.
	Former func(Place) *Former
	// NoCache executes each step, whatever is known.
	NoCache bool
	// ExactOwners says that every id of an image can stand on disk.
	ExactOwners bool
	// Slots bounds the number of instructions that are executed at once, by
	// its capacity; nil sets no bound.
	Slots chan struct{}

	defineOnly bool
}

// Definer gives a Runner that works out definitions, and which outcomes are on
// record: it executes nothing, and leaves the states without tree and layers.
func (r *Runner) Definer() *Runner {
	d := *r
	d.defineOnly = true
	d.Report, d.Made = func(Event) {}, nil
	return &d
}

// Networks gives each RUN that wants a private network the namespace of its
// job slot. Release tells if the network broke while the RUN had it.
type Networks interface {
	Acquire(ctx context.Context) (*network.Namespace, error)
	// AcquireFresh is Acquire for who could leave the namespace changed.
	AcquireFresh(ctx context.Context) (*network.Namespace, error)
	Release(*network.Namespace) error
}

// Settings are the same for all RUN instructions of a build.
type Settings struct {
	Network  network.Mode
	Ulimits  []sandbox.Ulimit
	ShmSize  int64    // bytes; 0 is the sandbox's default
	AddHosts []string // lines of /etc/hosts
	DNS      network.DNS
	Proxy    []string // NAME=VALUE, in no key and in no image
	// Trust are authorities that every RUN is shown, in no key and in no image.
	Trust trust.Authorities
	// Secrets and SSH are what mounts of these types may ask for, by id.
	Secrets map[string]Secret
	SSH     map[string]sshagent.Access
	// Hostname is what a RUN sees as its host's name, "" for builder's choice.
	Hostname string
	// CapAdd and CapDrop change the sandbox's capabilities.
	CapAdd, CapDrop []string
	Security        sandbox.Security
	// EmulateIDs has commands believe in ids that aren't mapped.
	EmulateIDs bool
	// Limits are in no key, see securityInputs.
	Limits   cgroup.Limits
	StateDir string // private directory for what a sandbox needs while it runs
}

// Step executes one instruction, or finds its result.
func (r *Runner) Step(ctx context.Context, st *State, in Instruction, at Step) error {
	return in.apply(ctx, r, st, at)
}

// lease calls Lease, where there is one.
func (r *Runner) lease(keys ...digest.Digest) error {
	if r.Lease == nil {
		return nil
	}
	return r.Lease(keys...)
}

// DefinesOnly says whether the Runner is a Definer.
func (r *Runner) DefinesOnly() bool { return r.defineOnly }

// inSlot does work when there is a job slot for it.
func (r *Runner) inSlot(ctx context.Context, at Step, work func() error) error {
	if r.Slots == nil {
		return work()
	}
	select {
	case r.Slots <- struct{}{}:
	default:
		r.Report(Waiting{Step: at, For: "its turn"})
		select {
		case r.Slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.Report(Waiting{Step: at})
	}
	defer func() { <-r.Slots }()
	return work()
}

// lockStep waits until nobody else makes a step.
func (r *Runner) lockStep(ctx context.Context, at Step, key digest.Digest) (unlock func(), err error) {
	unlock, held, err := r.Cache.TryLockStep(key)
	if err != nil || held {
		return unlock, err
	}
	r.Report(Waiting{Step: at, For: "the same step"})
	defer r.Report(Waiting{Step: at})
	return r.Cache.LockStep(ctx, key)
}
