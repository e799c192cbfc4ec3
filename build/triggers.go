package build

import (
	"context"
	"errors"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
)

// settleStages numbers the needed stages, once those are among them that only a
// base's ONBUILD triggers read.
func (b *build) settleStages(ctx context.Context) error {
	for {
		more, err := b.readByTriggers(ctx)
		if err != nil {
			return err
		}
		if !more {
			b.number()
			return nil
		}
		if b.order, err = b.file.NeededWith(b.o.Target, b.triggered); err != nil {
			return err
		}
		for _, s := range b.order {
			if err := b.checkSupported(s); err != nil {
				return err
			}
		}
	}
}

// readByTriggers notes which stages the triggers of the needed stages' bases
// read, and says whether one of them wasn't needed before. Bases are asked only
// where an earlier stage is left that could be meant.
func (b *build) readByTriggers(ctx context.Context) (more bool, err error) {
	needed := map[int]bool{}
	for _, s := range b.order {
		needed[s.Index] = true
	}
	g, gctx := errgroup.WithContext(ctx)
	reads := make([][]int, len(b.order))
	for i, s := range b.order {
		if i == s.Index || b.triggered[s.Index] != nil {
			continue
		}
		g.Go(func() (err error) {
			reads[i], err = b.triggerSources(gctx, s)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	for i, s := range b.order {
		if reads[i] == nil {
			continue
		}
		b.triggered[s.Index] = reads[i]
		for _, n := range reads[i] {
			more = more || !needed[n]
		}
	}
	return more, nil
}

// triggerSources gives the stages that the triggers of a stage's base read; it
// isn't nil. Outside a namespace a base may not be there: then the stage isn't
// built in this pass. Within one it may be on its way: then what its triggers
// read is built as soon as they are known.
func (b *build) triggerSources(ctx context.Context, s *dockerfile.Stage) ([]int, error) {
	texts, err := b.triggerTexts(ctx, s)
	if errors.Is(err, ErrNamespace) {
		return []int{}, nil
	}
	if err != nil {
		return nil, fault.At(s.Place(b.file.Name), err)
	}
	triggers, err := b.file.Triggers(s, texts)
	if err != nil {
		return nil, err
	}
	reads := []int{}
	for _, in := range triggers {
		reads = append(reads, in.Reads()...)
	}
	return reads, nil
}

func (b *build) triggerTexts(ctx context.Context, s *dockerfile.Stage) ([]string, error) {
	switch {
	case s.BaseStage >= 0:
		var texts []string
		for _, in := range b.file.Stages[s.BaseStage].Instructions {
			if c, ok := in.Cmd.(*instructions.OnbuildCommand); ok {
				texts = append(texts, c.Expression)
			}
		}
		return texts, nil
	case !b.fromImage(s):
		return nil, nil
	}
	base, err := b.baseSoon(ctx, baseOf(s))
	if err != nil {
		return nil, err
	}
	return base.Config.Config.OnBuild, nil
}
