package live

import (
	"os"
	"time"
)

// View draws a Model on a terminal while it changes. It may be used by several
// goroutines.
type View struct {
	drawing
	style Style
	// Whole keeps stages that are finished in the view until its end, so that
	// it can be discarded without a trace.
	whole  bool
	model  Model
	failed bool // a failed step's output was shown
}

// Options are what a View may be told.
type Options struct {
	Style
	// Whole keeps all of the build in the view until it is closed, so that
	// Discard leaves nothing.
	Whole bool
	// Broken, where set, is told of the first error of writing.
	Broken func(error)
}

// Start begins to draw what becomes of a model on a terminal.
func Start(terminal *os.File, m Model, o Options) *View {
	v := &View{
		drawing: drawing{terminal: terminal, reflows: o.Reflows, broken: o.Broken},
		style:   o.Style, whole: o.Whole, model: m,
	}
	v.frame = v.lines
	v.start()
	return v
}

// lines gives the stages that are finished, and what still goes on.
func (v *View) lines(size Size, now time.Time) (settled, lines []string) {
	var finished []*group
	if !v.whole {
		finished = v.model.takeFinished()
	}
	return v.settled(finished, now), v.style.Screen(&v.model, size, now)
}

// Update changes the model. The function must not keep it.
func (v *View) Update(change func(m *Model, now time.Time)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.model, time.Now())
}

// Close ends the view. What was done stays on the terminal, and of a step that
// failed all that is known of its output. The View must not be used again.
func (v *View) Close() {
	v.finish(func(now time.Time) []string {
		v.model.stop(now)
		return v.settled(v.model.takeAll(), now)
	})
}

// ShowedFailure says whether a failed step's output was shown at the end.
func (v *View) ShowedFailure() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed
}

// settled gives the lines of groups that are done with.
func (v *View) settled(groups []*group, now time.Time) []string {
	var lines []string
	for _, g := range groups {
		v.failed = v.failed || g.printedFailure()
		lines = append(lines, v.style.finished(g, v.size().Width-1, now)...)
	}
	return lines
}
