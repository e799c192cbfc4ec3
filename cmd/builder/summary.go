package main

import (
	"fmt"
	"html"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
)

const flagSummary = "summary"

// summary is what --summary tells of a build, in Markdown: each step, how long it
// took, and why it wasn't cached.
type summary struct {
	file, title string

	mu    sync.Mutex
	steps []*summedStep // in the order of their beginnings
	built string        // the build's last line
	anew  bool          // another process builds, and tells of it
}

type summedStep struct {
	step  stage.Step
	text  string
	begun time.Time // less the time that it has waited for others
	waits time.Time // since when it does so; zero where it doesn't
	took  time.Duration
	state string // "" while it goes on, or for one that changes no file
	why   string
}

// summed is a display that notes what it shows.
type summed struct {
	display
	summary *summary
}

func (d summed) Report(e build.Event) {
	d.summary.note(e, time.Now())
	d.display.Report(e)
}

func (d summed) discard() {
	d.summary.anew = true
	d.display.discard()
}

func (s *summary) note(e build.Event, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case stage.Started:
		s.steps = append(s.steps, &summedStep{step: e.Step, text: e.Text, begun: now})
	case stage.Cached:
		s.at(e.Step).state = "cached"
	case stage.Missed:
		s.at(e.Step).state, s.at(e.Step).why = "executed", why(e.Reason)
	case stage.Waiting:
		s.at(e.Step).wait(e.For != "", now)
	case stage.StepFailed:
		s.at(e.Step).state, s.at(e.Step).took = "**failed**", now.Sub(s.at(e.Step).begun)
	case stage.Done:
		s.at(e.Step).took = now.Sub(s.at(e.Step).begun)
	}
}

func (s *summedStep) wait(begins bool, now time.Time) {
	if begins && s.waits.IsZero() {
		s.waits = now
	} else if !begins && !s.waits.IsZero() {
		s.begun, s.waits = s.begun.Add(now.Sub(s.waits)), time.Time{}
	}
}

// at finds a step; one that nobody has heard of counts for nothing.
func (s *summary) at(step stage.Step) *summedStep {
	for _, known := range s.steps {
		if known.step.N == step.N {
			return known
		}
	}
	return &summedStep{}
}

// write appends the summary to its file. err is what the build has ended with.
func (s *summary) write(err error) error {
	if s == nil || s.anew {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ferr := os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if ferr == nil {
		_, ferr = f.WriteString(s.markdown(err))
		if cerr := f.Close(); ferr == nil {
			ferr = cerr
		}
	}
	if ferr != nil {
		return fault.New("", "--%s: %w", flagSummary, ferr)
	}
	return nil
}

func (s *summary) markdown(err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", cell(s.title))
	slices.SortFunc(s.steps, func(a, b *summedStep) int { return a.step.N - b.step.N })
	stages := map[string]bool{}
	for _, step := range s.steps {
		stages[step.step.Stage] = true
	}
	if len(s.steps) > 0 {
		b.WriteString("| step | | time | why it was executed |\n|---|---|--:|---|\n")
	}
	for _, step := range s.steps {
		text := code(oneLine(step.text))
		if len(stages) > 1 {
			text = cell(live.StageTitle(step.step.Stage)) + ": " + text
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", text, step.state, live.Duration(step.took), cell(step.why))
	}
	if err == nil {
		fmt.Fprintf(&b, "\n%s\n\n", cell(s.built))
		return b.String()
	}
	fmt.Fprintf(&b, "\n**%s**\n\n", cell(printable(strings.TrimSpace(err.Error()))))
	if detail := fault.Detail(err); len(detail) > 0 {
		fmt.Fprintf(&b, "<pre>%s</pre>\n\n", html.EscapeString(printable(strings.Join(detail, "\n"))))
	}
	if remedy := strings.TrimSpace(fault.Remedy(err)); remedy != "" {
		fmt.Fprintf(&b, "<pre>%s</pre>\n\n", html.EscapeString(printable(remedy)))
	}
	return b.String()
}

// cell writes a text so that it stands in a table, and is read as nothing but text.
func cell(text string) string {
	marks := strings.NewReplacer("\n", " ", "|", "&#124;", "*", "&#42;", "_", "&#95;", "`", "&#96;", "[", "&#91;")
	return marks.Replace(html.EscapeString(text))
}

func code(text string) string { return "<code>" + cell(text) + "</code>" }
