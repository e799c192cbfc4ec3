// Package live shows a build on a terminal while it goes on: the stages that
// are being built, their running steps with the last lines of what these print,
// and bars for what takes long.
//
// Model is what is known of the build and is told of its events. Screen makes
// lines of it for a terminal of any size; both are pure, and know the time only
// from their arguments. View draws the lines in place and keeps at the bottom
// what is still going on: a stage that is finished is printed above, once, and
// belongs to the terminal's scroll-back from then on.
package live

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/builder-oci/builder/stage"
)

// tailLines are kept of what a step prints: as many as an error repeats.
const tailLines = 50

// State is how far a step or a group has come.
type State int

// The states. Stopped is what others' failure has ended.
const (
	Running State = iota
	Waiting
	Done
	Cached
	Failed
	Stopped
)

// Model is what is known of a build. The zero Model is one that has just begun.
type Model struct {
	// Title says what is built.
	Title string
	// Begun is when.
	Begun time.Time

	groups []*group // that aren't printed yet, in the order in which they began
	steps  int      // that are done, those of printed groups too
	cached int
	total  int
}

// group is a stage, an image on its way here, or another part of the build.
type group struct {
	stage int    // its number; parts that aren't stages have noStage, and a key
	key   string // what the part is called by who reports it
	name  string // "" for the only stage of a build
	what  string // what is done, for a group without steps
	state State
	begun time.Time
	ended time.Time
	steps []*step
	total int
	bars  []*bar
}

// step is an instruction. A trigger of the stage's base has no text, and isn't
// counted.
type step struct {
	place    stage.Place
	text     string
	state    State
	awaits   string
	begun    time.Time
	ended    time.Time
	notes    []string // what is told of it, such as why it isn't cached
	tail     []string // the last lines that it printed
	standing string   // a line that has no end yet
	bar      *bar
}

// output gives what is kept of the step's output.
func (s *step) output() []string {
	if s.standing == "" {
		return s.tail
	}
	return append(slices.Clip(s.tail), s.standing)
}

// bar is how far something of known size has come.
type bar struct {
	label       string
	done, total int64
	complete    bool
}

// noStage stands behind all stages.
const noStage = math.MaxInt

// stage gives a step's stage, which begins now where it isn't known. Stages are
// kept in the order in which they stand in the Dockerfile.
func (m *Model) stage(at stage.Step, now time.Time) *group {
	n := at.Place.Stage
	i, known := slices.BinarySearchFunc(m.groups, n, func(g *group, n int) int { return cmp.Compare(g.stage, n) })
	if !known {
		m.groups = slices.Insert(m.groups, i, &group{stage: n, name: StageTitle(at.Stage), begun: now})
	}
	return m.groups[i]
}

// StageTitle is what a stage is called: its name, or its number as such.
func StageTitle(name string) string {
	if _, err := strconv.Atoi(name); err == nil {
		return "stage " + name
	}
	return name
}

// part gives a part of the build that isn't a stage, by its key.
func (m *Model) part(key string, now time.Time) *group {
	for _, g := range m.groups {
		if g.stage == noStage && g.key == key {
			return g
		}
	}
	g := &group{stage: noStage, key: key, begun: now}
	m.groups = append(m.groups, g)
	return g
}

// step gives a step, which begins now where it isn't known.
func (m *Model) step(at stage.Step, now time.Time) *step {
	g := m.stage(at, now)
	g.total = at.Of
	m.total = at.Total
	for _, s := range g.steps {
		if s.place == at.Place {
			return s
		}
	}
	s := &step{place: at.Place, begun: now}
	g.steps = append(g.steps, s)
	return s
}

// Start begins a step.
func (m *Model) Start(now time.Time, at stage.Step, text string) { m.step(at, now).text = tame(text) }

// Wait says what a step waits for; "" ends that. The step's own time begins then.
func (m *Model) Wait(now time.Time, at stage.Step, what string) {
	s := m.step(at, now)
	if what == "" {
		s.goOn(now)
		return
	}
	s.awaits, s.state = what, Waiting
}

func (s *step) goOn(now time.Time) {
	if s.state == Waiting {
		s.awaits, s.state, s.begun = "", Running, now
	}
}

// Print takes a line of a step's output.
func (m *Model) Print(now time.Time, at stage.Step, line string) {
	s := m.step(at, now)
	s.standing = ""
	if len(s.tail) == tailLines {
		s.tail = append(s.tail[:0], s.tail[1:]...)
	}
	s.tail = append(s.tail, tame(line))
}

// Stand takes the end of a line that has no end yet.
func (m *Model) Stand(now time.Time, at stage.Step, text string) {
	m.step(at, now).standing = tame(text)
}

// Note adds a line about a step, which stays with it.
func (m *Model) Note(now time.Time, at stage.Step, text string) {
	s := m.step(at, now)
	s.notes = append(s.notes, tame(text))
}

// Copy says how many bytes a step has copied.
func (m *Model) Copy(now time.Time, at stage.Step, done, total int64) {
	s := m.step(at, now)
	s.goOn(now)
	s.bar = &bar{done: done, total: total}
}

// Reuse says that a step's result was known.
func (m *Model) Reuse(now time.Time, at stage.Step) {
	s := m.step(at, now)
	s.state, s.ended = Cached, now
}

// Finish ends a step well.
func (m *Model) Finish(now time.Time, at stage.Step) {
	s := m.step(at, now)
	if s.state != Cached {
		s.state = Done
	}
	s.ended = now
	if s.text == "" {
		return
	}
	m.steps++
	if s.state == Cached {
		m.cached++
	}
}

// Fail ends a step, and its stage with it.
func (m *Model) Fail(now time.Time, at stage.Step) {
	s := m.step(at, now)
	s.state, s.ended = Failed, now
	m.stage(at, now).end(Failed, now)
}

// FinishStage ends a stage well.
func (m *Model) FinishStage(now time.Time, at stage.Step) {
	m.stage(at, now).end(Done, now)
}

// Begin begins a part of the build that isn't a stage.
func (m *Model) Begin(now time.Time, key, what string) {
	g := m.part(key, now)
	g.what, g.state, g.begun = what, Running, now
}

// End ends it, with what there is to say of it then.
func (m *Model) End(now time.Time, key, what string) {
	g := m.part(key, now)
	g.what = what
	g.end(Done, now)
}

// Drop ends it, with nothing to say of it.
func (m *Model) Drop(key string) {
	m.groups = slices.DeleteFunc(m.groups, func(g *group) bool { return g.stage == noStage && g.key == key })
}

// Transfer says how far one blob of a group has come.
func (m *Model) Transfer(now time.Time, key, label string, done, total int64, complete bool) {
	g := m.part(key, now)
	for _, b := range g.bars {
		if b.label == label {
			b.done, b.total, b.complete = done, total, complete
			return
		}
	}
	g.bars = append(g.bars, &bar{label: label, done: done, total: total, complete: complete})
}

// stop ends what still goes on: the build has ended before it.
func (m *Model) stop(now time.Time) {
	for _, g := range m.groups {
		if g.ended.IsZero() {
			g.end(Stopped, now)
		}
	}
}

// takeFinished gives the groups that are done with, in their order, and forgets
// them. A failed one stays until the end.
func (m *Model) takeFinished() []*group {
	var finished []*group
	left := m.groups[:0]
	for _, g := range m.groups {
		if g.state == Done {
			finished = append(finished, g)
		} else {
			left = append(left, g)
		}
	}
	clear(m.groups[len(left):])
	m.groups = left
	return finished
}

// takeAll gives all groups, those that failed last, and forgets them.
func (m *Model) takeAll() []*group {
	all := m.groups
	slices.SortStableFunc(all, func(a, b *group) int {
		switch {
		case (a.state == Failed) == (b.state == Failed):
			return 0
		case a.state == Failed:
			return 1
		}
		return -1
	})
	m.groups = nil
	return all
}

// printedFailure says whether a step of the group failed that had printed
// something.
func (g *group) printedFailure() bool {
	return slices.ContainsFunc(g.steps, func(s *step) bool {
		return s.state == Failed && len(s.output()) > 0
	})
}

func (g *group) end(state State, now time.Time) {
	g.state, g.ended = state, now
	for _, s := range g.steps {
		if s.ended.IsZero() {
			s.state, s.ended = Stopped, now
		}
	}
}

// current gives the step that a group is at, nil where it is at none.
func (g *group) current() *step {
	for i := len(g.steps) - 1; i >= 0; i-- {
		if g.steps[i].ended.IsZero() {
			return g.steps[i]
		}
	}
	return nil
}

// waits says whether a group can't go on before another.
func (g *group) waits() bool {
	s := g.current()
	return s != nil && s.state == Waiting
}

// counts gives the steps that are done, and those whose result was known.
func (g *group) counts() (done, cached int) {
	for _, s := range g.steps {
		if s.text == "" {
			continue
		}
		switch s.state {
		case Cached:
			done, cached = done+1, cached+1
		case Done:
			done++
		}
	}
	return done, cached
}

// bytes sums up the group's bars.
func (g *group) bytes() (done, total int64) {
	for _, b := range g.bars {
		done, total = done+b.done, total+b.total
	}
	return done, total
}

// elapsed is the time between begun and ended, or now.
func elapsed(begun, ended, now time.Time) time.Duration {
	if ended.IsZero() {
		ended = now
	}
	return max(0, ended.Sub(begun))
}
