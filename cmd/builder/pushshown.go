package main

import (
	"io"
	"time"

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
	return &plainPush{blobLines{out: p.out, notes: p.notes, words: pushWords, begun: true}}
}

// plainPush prints a line for each point of a layer's way.
type plainPush struct{ blobLines }

func (p *plainPush) arrived(layout.Image, bool) error { return p.err }

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
	lines := blobLines{out: out, notes: c.App.ErrWriter, words: pushWords}
	lines.heading, dest, err = pushHeading(dest)
	if err != nil {
		return err
	}
	o.Report = lines.report
	lines.begin()
	pushed, err := transport.Push(c.Context, img, dest, o)
	if err != nil {
		return err
	}
	lines.print("%s", pushedLine(dest, pushed))
	return lines.err
}
