package build

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/stage"
)

// lookUp takes every needed stage through its known results. The target has to
// get to its end; of the others it is only nice to show.
func (b *build) lookUp(ctx context.Context) error {
	for _, s := range b.order {
		_, err := b.solved(ctx, s).wait(ctx)
		if err != nil && (s == b.target() || !errors.Is(err, ErrNamespace)) {
			return err
		}
	}
	return nil
}

// execute builds the target: all stages that it turns out to need run side by
// side, each as soon as its base is there.
func (b *build) execute(ctx context.Context) error {
	todo, open, err := b.plan(ctx)
	if err != nil {
		return err
	}
	if err := b.prepareSandbox(todo); err != nil {
		return err
	}
	if b.runner.Networks != nil {
		defer b.runner.Networks.(*network.Pool).Close() //nolint:errcheck // its helpers end with this process at the latest
	}
	// The first error ends the group's context, and so the other steps.
	defer b.work.Wait()
	slots := make(chan struct{}, b.jobs())
	b.runner.Slots = slots
	g, ctx := errgroup.WithContext(ctx)
	b.ahead(ctx, todo, open)
	for _, s := range todo {
		g.Go(func() error {
			_, err := b.solved(ctx, s).wait(ctx)
			return err
		})
	}
	err = g.Wait()
	b.stopPulls() // of those that nobody needs any more
	return err
}

// jobs is the number of instructions that are executed at once.
func (b *build) jobs() int {
	if b.o.Jobs > 0 {
		return b.o.Jobs
	}
	return max(4, 2*runtime.GOMAXPROCS(0))
}

// prepareSandbox makes ready what the RUNs of these stages will want.
func (b *build) prepareSandbox(todo []*dockerfile.Stage) error {
	session, err := b.env.Store.Session()
	if err != nil {
		return err
	}
	if b.runner.Settings.StateDir, err = session.TempDir(); err != nil {
		return err
	}
	slots := 0
	for _, s := range todo {
		if slices.ContainsFunc(s.Instructions, isRun) {
			slots++
		}
	}
	if slots > 0 && b.o.Network.Mode == "" {
		if less := network.StepDown(); less != nil {
			b.report(Notice{Err: less})
		}
	}
	if b.runner.Settings.Network != network.ModePrivate {
		return nil
	}
	pool := network.NewPool(b.runner.Settings.StateDir, b.o.Network.Helper, b.o.DNS)
	b.runner.Networks = pool
	pool.Prepare(min(slots, b.jobs()))
	return nil
}

// plan finds out which stages have to be looked at: the target, and the
// sources and bases of what isn't known yet. Stages that are known from end to
// end are shown as well.
func (b *build) plan(ctx context.Context) (todo []*dockerfile.Stage, open *unknown, err error) {
	for _, s := range b.order {
		if b.fromImage(s) {
			b.bringBase(baseOf(s))
		}
	}
	quiet := b.quiet()
	quiet.open = &unknown{first: map[int]int{}}
	known := map[int]bool{}
	for _, s := range b.order {
		_, err := quiet.solved(ctx, s).wait(ctx)
		if err != nil && !errors.Is(err, ErrNamespace) {
			return nil, nil, err
		}
		known[s.Index] = err == nil
	}
	needed := map[int]bool{b.target().Index: true}
	for _, s := range slices.Backward(b.order) {
		if needed[s.Index] && !known[s.Index] {
			for _, i := range slices.Concat(s.Needs, b.triggered[s.Index]) {
				needed[i] = true
			}
		}
	}
	for _, s := range b.order {
		if needed[s.Index] || known[s.Index] {
			todo = append(todo, s)
		}
	}
	return todo, quiet.open, nil
}

// quiet gives a build of the same that executes and reports nothing.
func (b *build) quiet() *build {
	q := &build{
		ctx: b.ctx, o: b.o, env: b.env, r: ReporterFunc(func(Event) {}),
		file: b.file, context: b.context, contexts: b.contexts,
		order: b.order, steps: b.steps, triggered: b.triggered, without: b.without,
		packer: b.packer, files: b.files, remotes: b.remotes, work: b.work,
		stages: map[int]*future[*stage.State]{},
		bases:  b.bases,
		coming: b.coming,
		pulls:  b.pulls,
		defs:   map[int]*future[*stage.State]{}, // without those whose bases are on their way
	}
	q.env.Snapshots, q.env.Sandbox = nil, nil
	q.runner = q.newRunner()
	return q
}

// solved gives the state at a stage's end.
func (b *build) solved(ctx context.Context, s *dockerfile.Stage) *future[*stage.State] {
	return once(b, b.stages, s.Index, func() (*stage.State, error) {
		return b.walk(ctx, s, b.runner)
	})
}

// defined gives what the instructions of a stage, the context and the records
// say of it, without building it: its config, its definition, and the outcomes
// of its steps. Of a stage that isn't to be taken from the cache nothing is known
// before it is built.
func (b *build) defined(ctx context.Context, s *dockerfile.Stage) (*stage.State, error) {
	if b.without[s.Index] {
		return b.solved(ctx, s).wait(ctx)
	}
	b.mu.Lock()
	f := b.stages[s.Index]
	b.mu.Unlock()
	if f != nil && f.succeeded() {
		return f.value, nil
	}
	return once(b, b.defs, s.Index, func() (*stage.State, error) {
		return b.walk(ctx, s, b.runner.Definer())
	}).wait(ctx)
}

// walk takes a stage from its base through all its instructions.
func (b *build) walk(ctx context.Context, s *dockerfile.Stage, r *stage.Runner) (*stage.State, error) {
	if b.env.Snapshots != nil && !r.DefinesOnly() && b.packsEarly() && b.inImage(s) {
		packing := *r
		packing.Made = func(layers []stage.Layer) { b.packer.startEarly(b.ctx, layers) }
		r = &packing
	}
	if b.without[s.Index] && !r.NoCache {
		fresh := *r
		fresh.NoCache = true
		r = &fresh
	}
	if b.steps.include(s) { // which only a base that has just arrived wants
		if err := b.checkSupported(s); err != nil {
			return nil, err
		}
	}
	at := b.at(s, -1)
	r.Report(stage.Started{Step: at, Text: s.Original})
	st, err := b.from(ctx, s, r)
	if err != nil {
		b.stoppedAt(s, r, -1)
		return nil, b.failed(ctx, r, at, s.Place(b.file.Name), err)
	}
	if err := b.adjustBase(s, st); err != nil {
		return nil, err
	}
	r.Report(stage.Done{Step: at, ID: stage.ShortID(st.ID)})
	triggers, err := b.file.Triggers(s, st.Config.Config.OnBuild)
	if err != nil {
		return nil, err
	}
	st.Config.Config.OnBuild = nil
	if !r.DefinesOnly() {
		b.former.enter(s, st, triggers)
	}
	t := b.follow(s, r, st)
	for i, in := range triggers {
		at.Place.N = i
		if err := b.step(ctx, s, st, r, in, at, true); err != nil {
			b.stoppedAt(s, r, -1)
			return nil, err
		}
		t.note(in)
	}
	for i, in := range s.Instructions {
		at := b.at(s, i)
		at.Place.N += len(triggers)
		if err := b.step(ctx, s, st, r, in, at, false); err != nil {
			b.stoppedAt(s, r, i)
			return nil, err
		}
		t.note(in)
	}
	t.end()
	r.Report(StageDone{Step: b.at(s, -1)})
	return st, nil
}

// stoppedAt notes where a stage's known results end; -1 is before its own
// instructions.
func (b *build) stoppedAt(s *dockerfile.Stage, r *stage.Runner, instruction int) {
	if b.open != nil && !r.DefinesOnly() {
		b.open.note(s.Index, instruction)
	}
}

// packsEarly says whether layers are packed while the build goes on.
func (b *build) packsEarly() bool { return !b.o.NoImage && b.o.Squash == SquashNone }

// inImage says whether the layers of a stage become layers of the image.
func (b *build) inImage(s *dockerfile.Stage) bool {
	for t := b.target(); ; t = b.file.Stages[t.BaseStage] {
		if t == s {
			return true
		}
		if t.BaseStage < 0 {
			return false
		}
	}
}

// step executes one instruction.
func (b *build) step(ctx context.Context, s *dockerfile.Stage, st *stage.State, r *stage.Runner, in dockerfile.Instruction, at stage.Step, trigger bool) error {
	if err := b.check(in, nil); err != nil {
		return err
	}
	if !trigger {
		r.Report(stage.Started{Step: at, Text: in.Original})
	}
	translated, err := b.translate(s, st, in)
	if err == nil {
		err = r.Step(ctx, st, translated, at)
	}
	if err == nil {
		return nil
	}
	var failed *stage.Failed
	if errors.As(err, &failed) && ctx.Err() == nil {
		err = b.keep(s, in, failed, err)
	}
	return b.failed(ctx, r, at, in.Place(b.file.Name), err)
}

// failed says where a step's own error happened, and reports it. What only ends
// with the build, or can't be done here, is no failure of the step.
func (b *build) failed(ctx context.Context, r *stage.Runner, at stage.Step, place string, err error) error {
	if errors.Is(err, ErrNamespace) || ctx.Err() != nil {
		return err
	}
	r.Report(stage.StepFailed{Step: at})
	return fault.At(place, err)
}

func isRun(in dockerfile.Instruction) bool {
	_, ok := in.Cmd.(*instructions.RunCommand)
	return ok
}

// isCopy tells of COPY and ADD.
func isCopy(in dockerfile.Instruction) bool {
	switch in.Cmd.(type) {
	case *instructions.CopyCommand, *instructions.AddCommand:
		return true
	}
	return false
}
