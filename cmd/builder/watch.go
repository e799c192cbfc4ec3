package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/storage/transport"
)

// watch shows on the standard error how far an archive has come, where that is a
// terminal: the standard output has the archive, or ids that a script reads. A
// nil watch shows nothing.
type watch struct {
	view *live.View
	what string
	over sync.Once
}

// startWatch begins to show what goes on, such as "Saving app:v1".
func startWatch(c *cli.Context, what string, quiet bool) *watch {
	if quiet || !canDraw(c, os.Stderr) {
		return nil
	}
	w := &watch{what: what}
	w.view = live.Start(os.Stderr, live.Model{Title: what, Begun: time.Now()}, live.Options{Style: terminalStyle()})
	w.view.Update(func(m *live.Model, now time.Time) { m.Begin(now, what, what) })
	return w
}

// report shows how far a blob has come.
func (w *watch) report(e transport.Event) {
	w.progress(label(e.Digest), e.Offset, e.Size, e.Kind == transport.Done || e.Kind == transport.Exists)
}

// label is a blob's short digest; a file's whose digest isn't known by then has
// none.
func label(d digest.Digest) string {
	if d == "" {
		return ""
	}
	return format.ShortID(d)
}

// progress shows how much there is of so many bytes; total is -1 where it isn't
// known.
func (w *watch) progress(label string, done, total int64, complete bool) {
	if w == nil {
		return
	}
	if total <= 0 {
		total = done
	}
	w.view.Update(func(m *live.Model, now time.Time) { m.Transfer(now, w.what, label, done, total, complete) })
}

// end takes what was shown off the terminal. It may be called again.
func (w *watch) end() {
	if w != nil {
		w.over.Do(w.view.Discard)
	}
}

// watchedReader shows how much of something has been read.
type watchedReader struct {
	io.Reader
	watch *watch
	label string
	total int64
	done  int64
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.done += int64(n)
	r.watch.progress(r.label, r.done, r.total, false)
	return n, err
}
