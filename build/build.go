// Package build makes an image of a Dockerfile and a build context: it reads
// both, finds out which stages the target needs, lets package stage execute
// them side by side, packs the target's layers while that goes on, and writes
// the image into the store.
//
// Build is all that a caller needs. It is called twice by builder itself:
// first outside any namespace, where it succeeds if every step's result is
// known, and then, after ErrNamespace, inside one.
package build

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// ErrNamespace says that the build has to execute something, which needs a
// user namespace. Nothing has been changed.
var ErrNamespace = stage.ErrNamespace

// Result is what a build made.
type Result struct {
	// ID is the image's id, the digest of its config; "" where none was asked
	// for.
	ID digest.Digest
	// Manifest is the image's manifest.
	Manifest v1.Descriptor
	// Steps counts the steps that change files, Cached those among them whose
	// result was known.
	Steps, Cached int
	// Made are the trees that were made, also by a build that failed.
	Made []snapshot.Key
	// Forgotten says that failed steps of earlier builds aren't kept any more,
	// whose trees clean-up can remove.
	Forgotten bool
}

// build is one build in progress.
type build struct {
	ctx   context.Context //nolint:containedctx // ends the packing that outlives the step which began it
	o     Options
	env   Env
	r     Reporter
	file  *dockerfile.File
	order []*dockerfile.Stage // needed stages, the target last
	steps *numbering
	// triggered has the stages that the triggers of a stage's base read.
	triggered map[int][]int
	without   map[int]bool // stages whose steps are all executed
	runner    *stage.Runner
	packer    *packer
	context   contextPlace
	contexts  map[string]*namedContext // by ContextName
	files     *contextSource
	remotes   *remotes
	former    *former
	trails    map[int]*trail // by stage index; nil where none are kept
	dated     time.Time      // what the image says of when it was made
	open      *unknown       // nil where nobody wants to know

	// work counts the futures that are being worked out. A step in progress
	// uses the networks, the session and the packer, so all of it is waited for
	// before any of them is closed.
	work *sync.WaitGroup

	told sync.Map // wanted images that a notice has been given of

	// pulls ends what brings base images, of which nobody waits for all.
	pulls     context.Context //nolint:containedctx // as ctx
	stopPulls context.CancelFunc

	mu     sync.Mutex
	stages map[int]*future[*stage.State] // by stage index
	bases  map[wanted]*future[*stage.State]
	coming map[wanted]*signal
	defs   map[int]*future[*stage.State]
	result Result
}

// Build makes the image that o asks for and gives it its names. When it
// returns, nothing that it began goes on; the end of ctx ends what it is doing.
func Build(ctx context.Context, o Options, env Env, r Reporter) (result Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := checkManifest(o, env.Store.Layout()); err != nil {
		return Result{}, err
	}
	if env.Snapshots == nil && len(o.Trees) > 0 {
		return Result{}, ErrNamespace
	}
	if env.Snapshots != nil {
		if err := env.Store.BeginLeases(); err != nil {
			return Result{}, err
		}
	}
	b, err := prepare(ctx, o, env, r)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		if !errors.Is(err, ErrNamespace) {
			b.former.save(err != nil)
			b.saveTrails(err != nil)
		}
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			result.Made = b.result.Made
		}
	}()
	defer b.packer.close(cancel)
	defer b.closeContexts()
	defer b.remotes.close()
	defer func() { cancel(); b.work.Wait() }()
	if err := b.settleStages(ctx); err != nil {
		return Result{}, err
	}
	if err := b.refuseWarnings(ctx); err != nil {
		return Result{}, err
	}
	if env.Snapshots == nil {
		err = b.lookUp(ctx)
	} else {
		err = b.execute(ctx)
	}
	if ctx.Err() == nil && !errors.Is(err, ErrNamespace) {
		b.warn()
	}
	if err != nil {
		return Result{}, err
	}
	if result, err = b.finish(ctx); err == nil {
		result.Forgotten = b.forgetFailures()
		err = b.noteReplaced()
	}
	return result, err
}

// noteReplaced notes that there may be results of steps that nobody finds any more,
// as the steps were executed again.
func (b *build) noteReplaced() error {
	if !b.o.NoCache && len(b.o.NoCacheFor) == 0 {
		return nil
	}
	return b.env.Store.Layout().NoteFree(layout.Free{All: true})
}

// prepare reads the Dockerfile and settles which stages are needed.
func prepare(ctx context.Context, o Options, env Env, r Reporter) (*build, error) {
	b := &build{
		ctx: ctx, o: o, env: env, r: r,
		work:  &sync.WaitGroup{},
		steps: &numbering{first: map[int]int{}}, triggered: map[int][]int{},
		stages: map[int]*future[*stage.State]{},
		bases:  map[wanted]*future[*stage.State]{},
		coming: map[wanted]*signal{},
		defs:   map[int]*future[*stage.State]{},
		trails: map[int]*trail{},
	}
	b.pulls, b.stopPulls = context.WithCancel(ctx)
	err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	if b.o.Epoch == nil {
		b.o.Epoch = b.file.Epoch()
	}
	if b.o.RewriteTimes != nil && *b.o.RewriteTimes && b.o.Epoch == nil {
		return nil, fault.New("give one by --timestamp or "+dockerfile.EpochArg, "--output rewrite-timestamp=true: there is no time to write")
	}
	if b.order, err = b.file.Needed(o.Target); err != nil {
		return nil, err
	}
	if b.without, err = b.file.Indexes(o.NoCacheFor); err != nil {
		return nil, err
	}
	b.files = newContextSource(func() (*contextFiles, error) { return b.openContext(b.context) })
	b.remotes = newRemotes(b.o, env)
	b.packer = newPacker(b.o, env)
	b.former = newFormer(b)
	b.runner = b.newRunner()
	b.runner.Former = b.former.at
	for _, s := range b.order {
		if err := b.checkSupported(s); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// checkSupported refuses what isn't there yet, or isn't permitted, before
// anything is built.
func (b *build) checkSupported(s *dockerfile.Stage) error {
	for _, in := range s.Instructions {
		if err := b.check(in, nil); err != nil {
			return err
		}
		if err := b.file.CheckMounts(in); err != nil {
			return err
		}
	}
	return nil
}

// check refuses an instruction, before anything is executed and once more when
// it is expanded, that can't or may not be executed.
func (b *build) check(in dockerfile.Instruction, expanded instructions.Command) error {
	if err := in.CheckSupported(b.file.Name, expanded); err != nil {
		return err
	}
	return b.checkEntitlements(in)
}

// number counts the steps of the needed stages in the order of the file.
func (b *build) number() {
	needed := map[int]bool{}
	for _, s := range b.order {
		needed[s.Index] = true
	}
	for _, s := range b.file.Stages {
		if needed[s.Index] {
			b.steps.include(s)
		}
	}
}

// numbering counts the steps of the stages that are built.
type numbering struct {
	mu    sync.Mutex
	first map[int]int // number of a stage's FROM among all steps
	total int
}

// include counts a stage's steps, and says whether they weren't before.
func (n *numbering) include(s *dockerfile.Stage) (isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.first[s.Index] > 0 {
		return false
	}
	n.first[s.Index] = n.total + 1
	n.total += s.TotalSteps()
	return true
}

func (n *numbering) of(s *dockerfile.Stage) (first, total int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.first[s.Index], n.total
}

func (b *build) newRunner() *stage.Runner {
	mode := b.o.Network.Mode
	if mode == "" {
		mode = network.Default()
	}
	r := &stage.Runner{
		Cache:     b.env.Store.Cache(),
		Layout:    b.env.Store.Layout(),
		Records:   b.env.Store.Records(),
		Snapshots: b.env.Snapshots,
		Sandbox:   b.env.Sandbox,
		Settings: stage.Settings{
			Network: mode, EmulateIDs: b.o.EmulateIDs, Ulimits: b.o.Ulimits, ShmSize: b.o.ShmSize,
			AddHosts: b.o.AddHosts, DNS: b.o.DNS, Proxy: b.o.Proxy, Trust: b.o.Trust,
			Secrets: b.o.Secrets, SSH: b.o.SSH, CapAdd: b.o.CapAdd, CapDrop: b.o.CapDrop,
			Security: b.o.Security, Limits: b.o.Limits, Hostname: b.o.BuildArgs[hostnameArg],
		},
		Report:      b.report,
		NoCache:     b.o.NoCache,
		ExactOwners: b.env.ExactOwners,
	}
	if b.env.Snapshots != nil {
		r.Pack = b.packer.direct
		r.Lease = b.lease
	}
	return r
}

// lease keeps what the build uses from being pruned until its session ends.
func (b *build) lease(names ...digest.Digest) error { return b.env.Store.Lease(b.ctx, names...) }

// report passes an event on, and counts.
func (b *build) report(e Event) {
	switch e := e.(type) {
	case stage.Missed:
		b.former.missed(e.Place, e.Reason)
	case stage.Cached:
		b.former.solved(e.Place, e.Key, e.Parent)
		b.mu.Lock()
		b.result.Cached++
		b.result.Steps++
		b.mu.Unlock()
	case stage.Made:
		b.former.solved(e.Place, e.Key, e.Parent)
		b.mu.Lock()
		b.result.Steps++
		b.result.Made = append(b.result.Made, e.Tree)
		b.mu.Unlock()
		return
	}
	b.r.Report(e)
}

// at gives the step of a stage's instruction; -1 is its FROM.
func (b *build) at(s *dockerfile.Stage, instruction int) stage.Step {
	first, total := b.steps.of(s)
	at := stage.Step{N: first + instruction + 1, Total: total, Of: s.TotalSteps(), Place: stage.Place{Stage: s.Index, N: instruction}}
	if len(b.order) > 1 {
		at.Stage = stageName(s)
	}
	return at
}

// stageName is how users know a stage: its name, else its number.
func stageName(s *dockerfile.Stage) string {
	if s.Name != "" {
		return s.Name
	}
	return strconv.Itoa(s.Index)
}

// target is the stage that becomes the image.
func (b *build) target() *dockerfile.Stage { return b.order[len(b.order)-1] }
