package main

import (
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// pushTransfer shows a push: a bar for each layer on a terminal, else docker's
// lines, below a heading that stands there already.
func pushTransfer(d display, p *progress, dest string) transfer {
	if on, ok := d.(*liveDisplay); ok {
		t := &livePush{view: on.view, notes: on.notes, name: layout.Familiar(dest)}
		t.view.Update(func(m *live.Model, now time.Time) { m.Begin(now, t.key(), "pushing "+t.name) })
		return t
	}
	return &pushLines{out: p.out, notes: p.notes}
}

// livePush draws bars.
type livePush struct {
	view  *live.View
	notes io.Writer
	name  string
}

func (t *livePush) key() string { return "push " + t.name }

func (t *livePush) report(e transport.Event) {
	if e.Kind == transport.Retrying {
		_, _ = io.WriteString(t.notes, retryNote(e))
		return
	}
	if e.Kind != transport.Progress && e.Kind != transport.Done {
		return // nothing is sent
	}
	t.view.Update(func(m *live.Model, now time.Time) {
		m.Transfer(now, t.key(), format.ShortID(e.Digest), e.Offset, e.Size, e.Kind == transport.Done)
	})
}

func (t *livePush) arrived(layout.Image, bool) error {
	t.view.Update(func(m *live.Model, now time.Time) { m.End(now, t.key(), "pushed "+t.name) })
	return t.view.Err()
}

// pushImage copies what a build has made to dest and prints its way as docker does.
// Insecure is --tls-verify=false.
func pushImage(c *cli.Context, store *storage.Store, img layout.Image, dest string, insecure bool, out io.Writer) error {
	o, err := transportOptions(c, store)
	if err != nil {
		return err
	}
	if insecure {
		verify := false
		o.TLSVerify = &verify
	}
	lines := pushLines{out: out, notes: c.App.ErrWriter}
	heading, dest, err := pushHeading(dest)
	if err != nil {
		return err
	}
	lines.print("%s", heading)
	o.Report = lines.report
	pushed, err := transport.Push(c.Context, img, dest, o)
	if err != nil {
		return err
	}
	lines.print("%s", pushedLine(dest, pushed))
	return lines.err
}

// pushLines prints the way of an image's layers, a line for each point.
type pushLines struct {
	out   io.Writer
	notes io.Writer // where retries are told of
	told  map[digest.Digest]transport.EventKind
	err   error
}

// pushWords is what docker calls the points of a blob's way.
var pushWords = map[transport.EventKind]string{
	transport.Started: "Preparing",
	transport.Waiting: "Waiting",
	transport.Done:    "Pushed",
	transport.Exists:  "Layer already exists",
	transport.Mounted: "Mounted from ",
}

// report prints an event, once.
func (l *pushLines) report(e transport.Event) {
	if e.Kind == transport.Retrying {
		_, _ = io.WriteString(l.notes, retryNote(e))
		return
	}
	word, known := pushWords[e.Kind]
	if kind, again := l.told[e.Digest]; !known || again && kind == e.Kind {
		return
	}
	if l.told == nil {
		l.told = map[digest.Digest]transport.EventKind{}
	}
	l.told[e.Digest] = e.Kind
	if e.From != "" {
		word += repositoryPath(e.From)
	}
	l.print("%s: %s", format.ShortID(e.Digest), word)
}

func (l *pushLines) arrived(layout.Image, bool) error { return l.err }

func (l *pushLines) print(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.out, format+"\n", args...)
	}
}
