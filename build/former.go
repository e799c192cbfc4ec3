package build

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
)

// former knows what the last build of the same Dockerfile, target and context
// came to, and notes what this one comes to. A nil one knows and notes nothing.
type former struct {
	cache *cache.Cache
	now   cache.Build // but for its steps
	// read gives the last build, an empty one where there was none.
	read func() *cache.Build

	mu     sync.Mutex
	stages map[int]*formerStage // those that this build has walked
}

// formerStage is one stage, then and now.
type formerStage struct {
	name  string
	texts []string // of FROM and all instructions
	now   []cache.BuiltStep
	was   func() []*cache.BuiltStep // what stood in the place of each
}

func newFormer(b *build) *former {
	f := &former{cache: b.env.Store.Cache(), stages: map[int]*formerStage{}}
	f.now = cache.Build{Dockerfile: b.file.Name, Context: buildcontext.Redacted(b.o.ContextDir), Target: b.o.Target}
	if !platform.IsHere(b.file.Platform) {
		f.now.Platform = platform.Name(b.file.Platform)
	}
	if !buildcontext.IsRemote(b.o.ContextDir) {
		f.now.Context = absolutePath(b.o.ContextDir)
		if b.context.dockerfile != "" {
			f.now.Dockerfile = absolutePath(b.context.dockerfile)
		}
	}
	f.read = sync.OnceValue(func() *cache.Build {
		last, err := f.cache.Build(f.now.ID())
		if err != nil {
			return &cache.Build{}
		}
		return last
	})
	return f
}

func absolutePath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// enter begins a stage that starts from a state, with the triggers of its base
// and its own instructions.
func (f *former) enter(s *dockerfile.Stage, st *stage.State, triggers []dockerfile.Instruction) {
	if f == nil {
		return
	}
	fs := &formerStage{name: stageName(s), texts: []string{stage.ShortInstruction(s.Original)}}
	for _, in := range slices.Concat(triggers, s.Instructions) {
		fs.texts = append(fs.texts, stage.ShortInstruction(in.Original))
	}
	fs.now = make([]cache.BuiltStep, len(fs.texts))
	for i, text := range fs.texts {
		fs.now[i] = cache.BuiltStep{Stage: fs.name, Place: i - 1, Instruction: text}
	}
	fs.now[0].Key = st.Key
	fs.was = sync.OnceValue(func() []*cache.BuiltStep { return align(f.stageSteps(fs.name), fs.texts) })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stages[s.Index] = fs
}

// stageSteps gives the steps that the last build had of a stage, in their order.
func (f *former) stageSteps(name string) []*cache.BuiltStep {
	var steps []*cache.BuiltStep
	last := f.read()
	for i := range last.Steps {
		if last.Steps[i].Stage == name {
			steps = append(steps, &last.Steps[i])
		}
	}
	slices.SortStableFunc(steps, func(a, b *cache.BuiltStep) int { return cmp.Compare(a.Place, b.Place) })
	return steps
}

// solved notes the key of a step.
func (f *former) solved(at stage.Place, key, parent cache.Key) {
	f.note(at, func(step *cache.BuiltStep) { step.Key, step.Parent = key, parent })
}

// missed notes why a step is executed.
func (f *former) missed(at stage.Place, reason stage.Reason) {
	text, err := json.Marshal(reason)
	if err != nil {
		return // a reason is made of strings and numbers
	}
	f.note(at, func(step *cache.BuiltStep) { step.Why = text })
}

func (f *former) note(at stage.Place, change func(*cache.BuiltStep)) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fs := f.stages[at.Stage]; fs != nil && at.N+1 < len(fs.now) {
		change(&fs.now[at.N+1])
	}
}

// at gives what stood in an instruction's place. It is nil where this was never
// built, and has no key where there was nothing in the place.
func (f *former) at(place stage.Place) *stage.Former {
	if len(f.read().Steps) == 0 {
		return nil
	}
	f.mu.Lock()
	fs := f.stages[place.Stage]
	f.mu.Unlock()
	if fs == nil || place.N+1 >= len(fs.texts) || len(f.stageSteps(fs.name)) == 0 {
		return nil
	}
	was := fs.was()[place.N+1]
	if was == nil {
		return &stage.Former{}
	}
	return &stage.Former{Key: was.Key, Parent: was.Parent, Instruction: was.Instruction, Below: f.below(fs, place.N)}
}

// below tells what has changed of what an instruction stands on: the base, or
// the last step before it that changes files. A step that was known, and is
// another than the last time only for what it stands on itself, has said nothing
// of that: then it is what lies below that.
func (f *former) below(fs *formerStage, place int) stage.Difference {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := place; i > 0; i-- {
		if now := fs.now[i]; now.Key != "" && (now.Why != nil || !f.onlyMoved(now, fs.was()[i])) {
			return stage.Difference{Kind: stage.ChangedBelow, Name: fs.texts[i]}
		}
	}
	d := stage.Difference{Kind: stage.ChangedBase, Name: fs.texts[0], New: fs.now[0].Key.String()}
	if was := fs.was()[0]; was != nil {
		d.Old = was.Key.String()
	}
	return d
}

// onlyMoved says whether a step stands on something else than the last time,
// and nothing else of it has changed.
func (f *former) onlyMoved(now cache.BuiltStep, was *cache.BuiltStep) bool {
	if was == nil || was.Key == "" || was.Parent == now.Parent {
		return false
	}
	before, errBefore := f.cache.Inputs(was.Key)
	after, errAfter := f.cache.Inputs(now.Key)
	return errBefore == nil && errAfter == nil && slices.EqualFunc(before, after, func(a, b cache.Input) bool {
		return a == b || a.Name == b.Name && a.Name == "parent"
	})
}

// save keeps what this build came to for the next one. Of what a failed build
// didn't get to, the last build still tells.
func (f *former) save(failed bool) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.stages) == 0 {
		return
	}
	last := f.read()
	f.now.Steps, f.now.Failed = f.merge(last), failed
	if same(last, &f.now) {
		_ = f.cache.TouchBuild(f.now.ID()) // it only says which build was the last
		return
	}
	f.now.Finished = time.Now().UTC()
	_ = f.cache.PutBuild(&f.now) // what isn't remembered can't be explained, no more
}

// merge puts the steps of the walked stages into the last build's list.
func (f *former) merge(last *cache.Build) []cache.BuiltStep {
	walked := map[string]bool{}
	var steps []cache.BuiltStep
	for _, index := range slices.Sorted(maps.Keys(f.stages)) {
		fs := f.stages[index]
		walked[fs.name] = true
		for i, step := range fs.now {
			if step.Key == "" {
				was := fs.was()[i]
				if was == nil && step.Why == nil {
					continue
				}
				if was != nil {
					step.Key, step.Parent, step.Instruction = was.Key, was.Parent, was.Instruction
				}
			}
			steps = append(steps, step)
		}
	}
	for _, step := range last.Steps {
		if !walked[step.Stage] {
			step.Why = nil
			steps = append(steps, step)
		}
	}
	return steps
}

func same(a, b *cache.Build) bool {
	return a.Failed == b.Failed && slices.EqualFunc(a.Steps, b.Steps, func(x, y cache.BuiltStep) bool {
		return x.Stage == y.Stage && x.Place == y.Place && x.Instruction == y.Instruction &&
			x.Key == y.Key && x.Parent == y.Parent && bytes.Equal(x.Why, y.Why)
	})
}
