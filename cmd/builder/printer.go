package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/stage"
)

// plainDisplay prints a build as docker's classic builder does: one plain line for
// each event, as it comes. It may be used by several goroutines.
type plainDisplay struct {
	// out takes the steps and what they print, notes what belongs to no step.
	out, notes io.Writer
	// explain asks for the reason of every step that is executed, in full.
	explain bool
	// broken, where set, is told of the first error of writing.
	broken func(error)

	mu  sync.Mutex
	err error
}

// Report prints an event.
func (p *plainDisplay) Report(e build.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case stage.Started:
		p.step(e.Step, "Step %d/%d : %s", e.N, e.Total, printable(e.Text))
	case stage.Running:
		p.step(e.Step, " ---> Running in %.*s", format.ShortLen, e.ID)
	case stage.Output:
		p.step(e.Step, "%s", e.Line)
	case stage.Missed:
		p.missed(e)
	case stage.Cached:
		p.step(e.Step, " ---> Using cache")
	case stage.Done:
		p.step(e.Step, " ---> %.*s", format.ShortLen, e.ID)
	case stage.Warning:
		p.step(e.Step, " ---> [Warning] %s", printable(e.Text))
	case build.Built:
		p.line(p.out, "Successfully built %s", format.ShortID(e.ID))
	case build.Tagged:
		p.line(p.out, "Successfully tagged %s", e.Name)
	case build.Fetching:
		p.line(p.notes, "%s: fetching the build context %s", programName, e.Ref)
	case build.Linted:
		if p.out != io.Discard {
			printWarnings(p.notes, e)
		}
	case build.Notice:
		p.line(p.notes, "%s", strings.TrimSpace(render(e.Err)))
	}
}

// missed prints why a step is executed.
func (p *plainDisplay) missed(e stage.Missed) {
	for i, line := range missedLines(e.Reason, p.explain) {
		mark := "  "
		if i == 0 {
			mark = " ---> "
		}
		p.step(e.Step, "%s%s", mark, line)
	}
}

// missedLines say why a step is executed: all of it where the user asks, else in
// one line, and only where it ran before.
func missedLines(r stage.Reason, explain bool) []string {
	lines := explanation(r)
	switch {
	case explain:
		return lines
	case ranBefore(r):
		return lines[:1]
	}
	return nil
}

// transfer prints docker's lines.
func (p *plainDisplay) transfer(canonical string) transfer {
	return &pullLines{out: p.out, notes: p.notes, name: canonical}
}

func (p *plainDisplay) settle(err error) error { return err }
func (p *plainDisplay) discard()               {}

// Err is the first error of writing. What follows it was not printed.
func (p *plainDisplay) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// step prints a line of a step. It begins with the stage's name in builds of
// several, which run side by side.
func (p *plainDisplay) step(at stage.Step, format string, args ...any) {
	if at.Stage != "" {
		format, args = "[%s] "+format, append([]any{at.Stage}, args...)
	}
	p.line(p.out, format, args...)
}

// line prints in one write, so that lines of several processes don't mix.
func (p *plainDisplay) line(w io.Writer, format string, args ...any) {
	if p.err != nil {
		return
	}
	text := fmt.Sprintf(format+"\n", args...)
	if inAction() {
		text = noCommand(text)
	}
	if _, p.err = io.WriteString(w, text); p.err != nil && p.broken != nil {
		p.broken(p.err)
	}
}

// laterDisplay prints a build only when it has ended: before, it may have to be
// begun anew.
type laterDisplay struct {
	recording
	plain *plainDisplay
}

func (d *laterDisplay) transfer(string) transfer {
	panic("nothing is pulled before a build is begun anew")
}

func (d *laterDisplay) settle(err error) error {
	d.replay(d.plain)
	return err
}

func (d *laterDisplay) discard()   {}
func (d *laterDisplay) Err() error { return d.plain.Err() }

// recording keeps the events of a build that may have to be run once more.
type recording struct {
	mu     sync.Mutex
	events []build.Event
}

// Report keeps an event.
func (r *recording) Report(e build.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// replay hands the events to another, in their order.
func (r *recording) replay(to build.Reporter) {
	for _, e := range r.events {
		to.Report(e)
	}
}
