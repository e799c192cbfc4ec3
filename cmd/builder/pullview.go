package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// pullView shows what `pull` does, in docker's words: lines, or on a terminal one
// line for each layer that changes in place.
type pullView struct {
	out, notes io.Writer
	drawn      *live.Layers // nil where there is no terminal
	isNew      bool
	plain      io.Writer // below what is drawn
}

func newPullView(p *progress) *pullView {
	v := &pullView{out: p.out, notes: p.notes, plain: p.out}
	if p.form == progressTTY {
		v.drawn = live.StartLayers(p.file, terminalStyle())
		v.out, v.notes = v.drawn, v.drawn
	}
	return v
}

// transfer shows the way of one image.
func (v *pullView) transfer(canonical string) transfer {
	return &pullLines{out: v.out, notes: v.notes, drawn: v.drawn, name: canonical, came: func(isNew bool) {
		v.isNew = v.isNew || isNew
	}}
}

// close ends the drawing. What stands there stays.
func (v *pullView) close() error {
	if v.drawn == nil {
		return nil
	}
	v.drawn.Close()
	return v.drawn.Err()
}

// status is docker's last word of a pull of what is called so.
func (v *pullView) status(familiar string) error {
	_, err := fmt.Fprintln(v.plain, pullStatus(familiar, v.isNew))
	return err
}

func pullStatus(familiar string, isNew bool) string {
	if isNew {
		return "Status: Downloaded newer image for " + familiar
	}
	return "Status: Image is up to date for " + familiar
}

// pullLines shows the way of one image's layers. It may be used by several
// goroutines.
type pullLines struct {
	out, notes io.Writer
	drawn      *live.Layers
	name       string // canonical
	came       func(isNew bool)

	mu     sync.Mutex
	begun  bool
	layers []*pulledLayer // the lowest first
	err    error
}

type pulledLayer struct {
	digest         digest.Digest
	here, complete bool // what is called complete stands on complete ones
}

// report shows an event in docker's words.
func (l *pullLines) report(e transport.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Kind {
	case transport.Queued:
		l.layers = append(l.layers, &pulledLayer{digest: e.Digest})
		l.say(e, "Pulling fs layer", true)
	case transport.Exists:
		l.layers = append(l.layers, &pulledLayer{digest: e.Digest, here: true, complete: true})
		l.say(e, "Already exists", false)
	case transport.Waiting:
		l.say(e, "Waiting", true)
	case transport.Started, transport.Progress:
		if l.drawn != nil {
			l.drawn.Set(format.ShortID(e.Digest), "Downloading", e.Offset, e.Size, true)
		}
	case transport.Done:
		l.say(e, "Verifying Checksum", true)
		l.say(e, "Download complete", true)
		l.finish(e)
	case transport.Retrying:
		l.retry(e)
	}
}

// finish notes that a layer is here, and says so of those that have all below
// them.
func (l *pullLines) finish(e transport.Event) {
	whole := true
	for _, layer := range l.layers {
		layer.here = layer.here || layer.digest == e.Digest
		whole = whole && layer.here
		if whole && !layer.complete {
			layer.complete = true
			l.say(transport.Event{Digest: layer.digest}, "Pull complete", false)
		}
	}
}

// retry tells why something is tried again.
func (l *pullLines) retry(e transport.Event) {
	if e.Digest != "" && l.drawn != nil {
		l.drawn.Set(format.ShortID(e.Digest), "Retrying in "+live.Duration(e.Pause), 0, 0, true)
	}
	_, _ = io.WriteString(l.notes, retryNote(e))
}

// retryNote is the line about a retry.
func retryNote(e transport.Event) string {
	of := ""
	if e.Digest != "" {
		of = format.ShortID(e.Digest) + ": "
	}
	return printable(fmt.Sprintf("%s: %sretrying in %s: %v\n", programName, of, e.Pause.Round(100*time.Millisecond), e.Err))
}

// say tells what happens to a layer; moves says that it isn't the end.
func (l *pullLines) say(e transport.Event, words string, moves bool) {
	l.begin()
	if l.drawn != nil {
		l.drawn.Set(format.ShortID(e.Digest), words, 0, 0, moves)
		return
	}
	l.print("%s: %s", format.ShortID(e.Digest), words)
}

// arrived ends the lines of an image well.
func (l *pullLines) arrived(img layout.Image, isNew bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	if l.drawn != nil {
		l.drawn.Settle()
	}
	l.print("Digest: %s", img.Target().Digest)
	if l.came != nil {
		l.came(isNew)
	} else {
		l.print("%s", pullStatus(layout.Familiar(l.name), isNew))
	}
	return l.err
}

// begin prints the heading before the first line: where the image can't be had
// there is nothing to announce.
func (l *pullLines) begin() {
	if !l.begun {
		l.begun = true
		l.print("%s", pullHeading(l.name))
	}
}

func (l *pullLines) print(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.out, format+"\n", args...)
	}
}

// pullHeading is docker's "latest: Pulling from library/ubuntu".
func pullHeading(canonical string) string {
	named := mustParse(canonical)
	version := "latest"
	switch n := named.(type) {
	case reference.Digested:
		version = named.String()
	case reference.Tagged:
		version = n.Tag()
	}
	return version + ": Pulling from " + reference.Path(named)
}
