// Package isolation chooses how programs are kept apart from the machine: by an
// OCI runtime, by chroot where no runtime works, or not at all, where nothing can
// be run. What can be had is found out by trying, when something is to be run for
// the first time; what couldn't is remembered until the machine starts again.
package isolation

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
)

// Level is how programs are kept apart, as users write it.
type Level string

// The levels.
const (
	// OCI is a runtime's: namespaces, capabilities and a seccomp profile.
	OCI Level = "oci"
	// Chroot is a root directory of its own, and what of the rest can be had.
	Chroot Level = "chroot"
	// None runs nothing.
	None Level = "none"
)

// Asked is what a user can ask for.
type Asked struct {
	Level Level // "" where it is found by trying
	// Plain lets root go on without a user namespace. Level is Chroot or "" then.
	Plain bool
}

// Parse reads what users write after --isolation. "rootless" and "default" are
// buildah's words for what is the best here.
func Parse(s string) (Asked, error) {
	switch s {
	case "", "default", "rootless":
		return Asked{}, nil
	case "any":
		return Asked{Plain: true}, nil
	case string(OCI), string(None):
		return Asked{Level: Level(s)}, nil
	case string(Chroot):
		return Asked{Level: Chroot, Plain: true}, nil
	}
	return Asked{}, fault.New("choose oci, chroot, any or none", "the isolation %q isn't known", s)
}

// Entering gives what userns is to do where no user namespace can be had.
func (a Asked) Entering() userns.Plain {
	switch {
	case a.Plain:
		return userns.PlainRoot
	case a.Level == OCI:
		return userns.PlainNever
	}
	return userns.PlainUser
}

// Options are what an Isolation needs.
type Options struct {
	Asked   Asked
	Runtime string // name or path of the runtime; "" for the best
	Filters string // directory for compiled seccomp filters
	// RunDir is a private directory whose content is of this boot.
	RunDir string
	// Tell is told, once, with what it goes on, and why that isn't the best, before
	// anything runs by it.
	Tell func(with string, why *fault.Error)
}

// Isolation is a [sandbox.Sandbox] at the best level that works. It is safe for
// concurrent use, and finds out nothing before it is used.
type Isolation struct {
	o Options

	mu     sync.Mutex
	chosen *chosen
	told   *chosen // which of them the user knows of
}

// chosen is a level and who runs programs at it.
type chosen struct {
	level   Level
	box     box
	runtime *sandbox.OCI // at level OCI
	why     *fault.Error // why it isn't a better one; nil where it is what was asked for
}

// box runs programs, those that outlive the call too.
type box interface {
	sandbox.Sandbox
	Create(ctx context.Context, s sandbox.Spec) (*sandbox.Program, error)
}

// New gives the isolation that is asked for.
func New(o Options) *Isolation { return &Isolation{o: o} }

// Level tells what is chosen and why it is no better, as far as that is known
// without running anything.
func (i *Isolation) Level() (Level, *fault.Error, error) {
	now, err := i.choose()
	if err != nil {
		return "", nil, err
	}
	return now.level, now.why, nil
}

// Runtime is what runs programs, and why it isn't a better one; false where that is no
// runtime.
func (i *Isolation) Runtime() (sandbox.Runtime, *fault.Error, bool) {
	now, err := i.choose()
	if err != nil || now.runtime == nil {
		return sandbox.Runtime{}, nil, false
	}
	return now.runtime.Runtime(), now.why, true
}

// Weakness says what a user has to know of the level; "" where there is nothing: in a
// mount namespace chroot keeps apart what a runtime does.
func (i *Isolation) Weakness() string {
	now, err := i.choose()
	if err != nil {
		return ""
	}
	if box, ok := now.box.(*sandbox.Chroot); ok && box.Plain() {
		return "no namespace and no /proc: root leaves a chroot, and signals builder's own processes"
	}
	return ""
}

// Refusal is why nothing can be run here, as Run would say it; nil where something
// may.
func (i *Isolation) Refusal() error {
	now, err := i.choose()
	if err != nil {
		return err
	}
	if refused, ok := now.box.(refusal); ok {
		return refused.fault()
	}
	return nil
}

// Run implements [sandbox.Sandbox].
func (i *Isolation) Run(ctx context.Context, s sandbox.Spec) (sandbox.Exit, error) {
	now, err := i.ready()
	if err != nil {
		return sandbox.Exit{}, err
	}
	for {
		exit, err := now.box.Run(ctx, s)
		lesser := i.stepDown(ctx, now, err)
		if lesser == nil {
			return exit, err
		}
		now = lesser
	}
}

// Create makes a program that outlives the call, as [sandbox.OCI.Create] does.
func (i *Isolation) Create(ctx context.Context, s sandbox.Spec) (*sandbox.Program, error) {
	now, err := i.ready()
	if err != nil {
		return nil, err
	}
	for {
		program, err := now.box.Create(ctx, s)
		lesser := i.stepDown(ctx, now, err)
		if lesser == nil {
			return program, err
		}
		now = lesser
	}
}

// ready gives what is chosen, and tells the user if that isn't the best.
func (i *Isolation) ready() (*chosen, error) {
	now, err := i.choose()
	if err != nil {
		return nil, err
	}
	i.tell(now)
	return now, nil
}

// tell tells what the user hasn't asked for; that nothing can be run is the error
// of what was to be run, and that there is no user namespace is known by then.
func (i *Isolation) tell(now *chosen) {
	if now.why == nil || now.level == None || i.o.Asked.Level == Chroot || userns.Lack() != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.told == now {
		return
	}
	i.told = now
	with := "the isolation " + string(now.level)
	if now.runtime != nil {
		with = now.runtime.Runtime().Name
	}
	i.o.Tell(with, now.why)
}

func (i *Isolation) choose() (*chosen, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.chosen == nil {
		first, err := i.first()
		if err != nil {
			return nil, err
		}
		i.chosen = first
	}
	return i.chosen, nil
}

// first is the best level of which nothing speaks against it.
func (i *Isolation) first() (*chosen, error) {
	mapping, err := userns.Current()
	if err != nil {
		return nil, err
	}
	switch {
	case i.o.Asked.Level == None:
		return nothing(fault.New("leave out --isolation none, which may also stand in BUILDER_ISOLATION or the configuration", "running programs is forbidden by --isolation none")), nil
	case mapping.Kind == userns.KindOwn:
		return nothing(userns.Lack()), nil
	case mapping.Kind == userns.KindHost, i.o.Asked.Level == Chroot:
		return i.chroot(userns.Lack())
	}
	runtime, err := sandbox.FindRuntime(i.o.Runtime)
	switch {
	case err == nil:
		if why := i.remembered(runtime); why != nil && !i.insists() {
			return i.without(runtime, why)
		}
		return i.oci(runtime, nil), nil
	case i.o.Asked.Level == OCI || i.o.Runtime != "":
		return nil, err
	}
	return i.chroot(asFault(err))
}

// insists tells whether the user will have a runtime or nothing.
func (i *Isolation) insists() bool { return i.o.Asked.Level == OCI || i.o.Runtime != "" }

// oci is the level of a runtime. why is why it isn't a better one.
func (i *Isolation) oci(runtime sandbox.Runtime, why *fault.Error) *chosen {
	box := sandbox.NewOCI(runtime, i.o.Filters, userns.PIDNamespace())
	return &chosen{level: OCI, box: box, runtime: box, why: why}
}

// without gives what is next where a runtime works for no program, as why says: the
// other runtime, unless that is known to work for none either.
func (i *Isolation) without(failed sandbox.Runtime, why *fault.Error) (*chosen, error) {
	other, err := sandbox.FindRuntime("runc")
	if err == nil && failed.Name != other.Name && i.remembered(other) == nil {
		return i.oci(other, why), nil
	}
	return i.chroot(why)
}

// stepDown gives the next level where err shows that the present one works for
// no program at all; nil where it may.
func (i *Isolation) stepDown(ctx context.Context, now *chosen, err error) *chosen {
	if now.level != OCI || i.insists() || !errors.Is(err, sandbox.ErrRuntime) || ctx.Err() != nil {
		return nil
	}
	why := sandbox.Probe(ctx, now.box, i.o.RunDir)
	if why == nil || ctx.Err() != nil {
		return nil
	}
	failed := now.runtime.Runtime()
	cause := cmp.Or(now.why, asFault(why))
	i.remember(failed, asFault(why))
	lesser, err := i.without(failed, cause)
	if err != nil {
		return nil
	}
	lesser = i.replace(now, lesser)
	i.tell(lesser)
	return lesser
}

// replace makes lesser the choice, unless another program has stepped down already.
func (i *Isolation) replace(now, lesser *chosen) *chosen {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.chosen == now {
		i.chosen = lesser
	}
	return i.chosen
}

// asFault gives err as the error that users read.
func asFault(err error) *fault.Error {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f
	}
	return fault.New("", "%w", err)
}

// nothing is the level at which nothing is run.
func nothing(why *fault.Error) *chosen {
	return &chosen{level: None, box: refusal{why}, why: why}
}

// refusal runs nothing, and says why.
type refusal struct{ why *fault.Error }

// Run implements [sandbox.Sandbox].
func (r refusal) Run(context.Context, sandbox.Spec) (sandbox.Exit, error) {
	return sandbox.Exit{}, r.fault()
}

// Create is Run for a program that would outlive the call.
func (r refusal) Create(context.Context, sandbox.Spec) (*sandbox.Program, error) {
	return nil, r.fault()
}

func (r refusal) fault() error {
	return fault.New(r.why.Remedy, "nothing can be run here, only instructions other than RUN work: %w", r.why)
}
