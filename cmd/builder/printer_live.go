package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// liveDisplay shows a build on a terminal as it stands at the moment.
type liveDisplay struct {
	view    *live.View
	notes   io.Writer
	explain bool
	// together says that errors are printed on the same terminal.
	together bool
}

func newLiveDisplay(c *cli.Context, p *progress, anew bool, broken func(error)) *liveDisplay {
	d := &liveDisplay{explain: c.Bool("explain"), notes: c.App.ErrWriter}
	d.view = live.Start(p.file, live.Model{Title: p.title, Begun: p.begun},
		live.Options{Style: terminalStyle(), Whole: anew, Broken: broken})
	if isTerminal(os.Stderr) {
		d.notes, d.together = d.view, true
	}
	return d
}

// terminalStyle is what the environment says of the terminal.
func terminalStyle() live.Style {
	charset := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if charset = os.Getenv(name); charset != "" {
			break
		}
	}
	charset = strings.ToLower(strings.ReplaceAll(charset, "-", ""))
	return live.Style{
		Color:   os.Getenv("NO_COLOR") == "",
		Unicode: strings.Contains(charset, "utf8"),
		Reflows: os.Getenv("XTERM_VERSION") == "" && os.Getenv("TERM") != "linux",
	}
}

// Report shows an event.
func (d *liveDisplay) Report(e build.Event) {
	switch e := e.(type) {
	case build.Notice:
		d.note("%s", strings.TrimSpace(render(e.Err)))
	case build.Linted:
		printWarnings(d.notes, e)
	default:
		d.view.Update(func(m *live.Model, now time.Time) { d.change(m, now, e) })
	}
}

// change tells the model of an event.
func (d *liveDisplay) change(m *live.Model, now time.Time, e build.Event) {
	switch e := e.(type) {
	case stage.Started:
		m.Start(now, e.Step, e.Text)
	case stage.Waiting:
		m.Wait(now, e.Step, e.For)
	case stage.Output:
		m.Print(now, e.Step, e.Line)
	case stage.Standing:
		m.Stand(now, e.Step, e.Text)
	case stage.Copied:
		m.Copy(now, e.Step, e.Bytes, e.Total)
	case stage.Missed:
		for _, line := range missedLines(e.Reason, d.explain) {
			m.Note(now, e.Step, line)
		}
	case stage.Warning:
		m.Note(now, e.Step, "[Warning] "+e.Text)
	case stage.Cached:
		m.Reuse(now, e.Step)
	case stage.Done:
		m.Finish(now, e.Step)
	case stage.StepFailed:
		m.Fail(now, e.Step)
	case build.StageDone:
		m.FinishStage(now, e.Step)
	case build.Fetching:
		m.Begin(now, "context", "fetching the build context "+e.Ref)
	case build.Fetched:
		m.End(now, "context", "fetched the build context "+e.Ref)
	case build.Packing:
		m.Begin(now, "image", "packing "+count(e.Layers, "layer"))
	case build.Built:
		m.Drop("image")
	}
}

// note prints a line above the view.
func (d *liveDisplay) note(format string, args ...any) {
	_, _ = fmt.Fprintf(d.notes, format+"\n", args...) // Err tells
}

func (d *liveDisplay) Err() error { return d.view.Err() }

func (d *liveDisplay) discard() { d.view.Discard() }

// settle leaves the end of a failed step's output to the view, which has
// printed it above the error.
func (d *liveDisplay) settle(err error) error {
	d.view.Close()
	if d.together && d.view.ShowedFailure() && len(fault.Detail(err)) > 0 {
		return &fault.Error{Err: err, Remedy: fault.Remedy(err), Code: fault.Code(err)}
	}
	return err
}

// transfer shows a bar for each layer.
func (d *liveDisplay) transfer(canonical string) transfer {
	t := &liveTransfer{view: d.view, notes: d.notes, name: layout.Familiar(canonical)}
	t.view.Update(func(m *live.Model, now time.Time) { m.Begin(now, t.key(), "pulling "+t.name) })
	return t
}

type liveTransfer struct {
	view  *live.View
	notes io.Writer
	name  string
}

func (t *liveTransfer) key() string { return "pull " + t.name }

func (t *liveTransfer) report(e transport.Event) {
	switch e.Kind {
	case transport.Exists, transport.Waiting:
		return
	case transport.Retrying:
		_, _ = io.WriteString(t.notes, retryNote(e))
		return
	}
	t.view.Update(func(m *live.Model, now time.Time) {
		m.Transfer(now, t.key(), format.ShortID(e.Digest), e.Offset, e.Size, e.Kind == transport.Done)
	})
}

func (t *liveTransfer) arrived(_ layout.Image, isNew bool) error {
	what := "pulled " + t.name
	if !isNew {
		what = t.name + " is up to date"
	}
	t.view.Update(func(m *live.Model, now time.Time) { m.End(now, t.key(), what) })
	return t.view.Err()
}
