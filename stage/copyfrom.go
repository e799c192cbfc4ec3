package stage

import (
	"context"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

// fromTree copies from a stage or an image. An alias leads from what is known
// of the source without building it to the digest of what was copied then, so
// that a known step needs no source.
func (in Copy) fromTree(ctx context.Context, r *Runner, st *State, at Step, source *State) error {
	selectors := append(in.selectors(st), cache.Input{Name: "source", Value: source.Definition.String()})
	parent := in.parent(st)
	alias := keyOf("copy from", append([]cache.Input{parent}, selectors...))
	st.define("copy", selectors)
	sel := r.selection(in, at)
	defer sel.close()
	content, outcomes := r.aliased(alias, source)
	if r.defineOnly {
		if content == "" {
			st.lost = true
		}
		st.addOutcomes(source.outcomes)
		return in.solve(ctx, r, st, at, sel, content)
	}
	if content != "" {
		known, err := in.adoptKnown(r, st, at, sel, content)
		if err != nil {
			return err
		}
		if known {
			st.addOutcomes(outcomes)
			return nil
		}
	}
	if r.Snapshots == nil {
		return ErrNamespace
	}
	err := r.awaiting(at, in.From, func() error { return sel.load(ctx, in.From) })
	if err != nil {
		return err
	}
	content, err = sel.digest(ctx)
	if err != nil {
		return err
	}
	// It has been built now.
	if source, err = in.From.Known(ctx); err != nil {
		return err
	}
	if err := in.solve(ctx, r, st, at, sel, content); err != nil {
		return err
	}
	st.addOutcomes(source.outcomes)
	return r.putAlias(alias, in.Instruction, content, source)
}

// awaited is a source that may have to be built first.
type awaited interface {
	// Awaits names what is still being built, or is "".
	Awaits() string
}

// awaiting does work that needs a source, and tells where that has to wait.
func (r *Runner) awaiting(at Step, from Source, work func() error) error {
	if source, may := from.(awaited); may && source.Awaits() != "" {
		r.Report(Waiting{Step: at, For: source.Awaits()})
		defer r.Report(Waiting{Step: at})
	}
	return work()
}

// adoptKnown takes the state over the instruction where its result is known,
// and says whether it is.
func (in Copy) adoptKnown(r *Runner, st *State, at Step, sel *selection, content digest.Digest) (bool, error) {
	if in.Link {
		return in.linkKnown(r, st, at, sel, content)
	}
	return r.adoptKnown(st, at, in.job(r, st, sel, in.parent(st), content)), nil
}

// outcomeInput begins the name of an input that says which result a step of
// the source had; the step's definition follows.
const outcomeInput = "outcome:"

// putAlias notes the digest of what was copied, and from which outcome.
func (r *Runner) putAlias(alias digest.Digest, instruction string, content digest.Digest, source *State) error {
	return r.Cache.PutStep(&cache.Step{
		Key: alias, Version: rules, Kind: "alias", Instruction: instruction,
		Created: time.Now().UTC(), Digest: content.String(),
	}, func(yield func(cache.Input) bool) {
		for o := range source.outcomes {
			if !yield(cache.Input{Name: outcomeInput + o.definition.String(), Value: o.result.String()}) {
				return
			}
		}
	})
}

// aliased gives the digest of what a COPY from this source took the last time,
// and the outcomes of the source's steps then; "" where nothing is known. A
// step of the source that has been executed since has another outcome, and may
// have another result. Of a step whose record was pruned only the definition
// can tell, and that is the same.
func (r *Runner) aliased(alias digest.Digest, source *State) (digest.Digest, outcomes) {
	if r.NoCache {
		return "", nil
	}
	step, err := r.Cache.Step(alias)
	if err != nil {
		return "", nil
	}
	inputs, err := r.Cache.Inputs(alias)
	if err != nil {
		return "", nil
	}
	then := outcomes{}
	for _, in := range inputs {
		if def, ok := strings.CutPrefix(in.Name, outcomeInput); ok {
			then[outcome{digest.Digest(def), digest.Digest(in.Value)}] = true
		}
	}
	for o := range source.outcomes {
		if !then[o] {
			return "", nil
		}
	}
	r.Cache.Used(alias)
	return digest.Digest(step.Digest), then
}

// outcome is the result that a step had.
type outcome struct{ definition, result digest.Digest }

type outcomes map[outcome]bool

func (st *State) addOutcomes(more outcomes) {
	if st.outcomes == nil {
		st.outcomes = outcomes{}
	}
	for o := range more {
		st.outcomes[o] = true
	}
}

// follow takes the state that a Definer works out over a job: as far as there
// are records, the job's result is known as well.
func (r *Runner) follow(st *State, j *job) {
	if st.lost {
		return
	}
	step, err := r.Cache.Step(keyOf(j.kind, j.inputs))
	if err != nil {
		st.lost = true
		return
	}
	st.Key = step.Result
	st.addOutcomes(outcomes{{st.Definition, step.Result}: true})
}
