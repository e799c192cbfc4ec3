package log

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// endedInterval is how often it is looked whether the container has ended: the
	// end of a killed monitor changes no file.
	endedInterval = time.Second
	// pollInterval is how often it is looked what has come where the kernel has no
	// watch left for us.
	pollInterval = 100 * time.Millisecond
)

// follow reads what is there, and what comes.
func (r *reader) follow(ctx context.Context) error {
	defer func() { r.close() }()
	w := newWatch(r.dir, r.options.Until)
	defer w.close()
	if err := r.begin(); err != nil {
		return err
	}
	for look := true; ; {
		// In this order: what was written before the end is read after it.
		ended := look && (r.options.Ended == nil || r.options.Ended()) || w.isOver()
		err := r.readNew(ctx)
		if err == nil && r.options.Idle != nil {
			err = r.options.Idle()
		}
		if err != nil || ended {
			return err
		}
		if look, err = w.wait(ctx); err != nil {
			return err
		}
	}
}

// readNew reads to the end of the newest file.
func (r *reader) readNew(ctx context.Context) error {
	for {
		if err := r.readFiles(ctx); err != nil {
			return err
		}
		newer, err := r.newer()
		if err != nil || len(newer) == 0 {
			return err
		}
		// The last file was complete before there was a newer one: what has come to
		// it since it was read is read first.
		r.files = append(r.files, newer...)
	}
}

// newer opens the files that came after the one that was read last.
func (r *reader) newer() ([]*file, error) {
	if len(r.files) == 0 {
		return openFiles(r.dir)
	}
	last := r.files[len(r.files)-1]
	if info, err := os.Stat(path(r.dir, 0)); err != nil || last.is(info) {
		return nil, nil // or there is none for a moment
	}
	files, err := openFiles(r.dir)
	if err != nil {
		return nil, err
	}
	info, err := last.Stat()
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if f.is(info) {
			return files[i+1:], closeFiles(files[:i+1])
		}
	}
	return files, nil // so many have come that the last one is gone
}

// watch waits for changes in a container's directory.
type watch struct {
	changes *fsnotify.Watcher
	tick    *time.Ticker
	until   time.Time
	over    <-chan time.Time
}

func newWatch(dir string, until time.Time) *watch {
	w := &watch{until: until}
	interval := endedInterval
	var err error
	if w.changes, err = watchDir(dir); err != nil {
		interval = pollInterval
		w.changes = &fsnotify.Watcher{} // whose channels never give anything
	}
	w.tick = time.NewTicker(interval)
	if !until.IsZero() {
		w.over = time.After(time.Until(until))
	}
	return w
}

func watchDir(dir string) (*fsnotify.Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *watch) isOver() bool { return !w.until.IsZero() && !time.Now().Before(w.until) }

// wait waits until something may have come. It tells whether that may be the
// container's end.
func (w *watch) wait(ctx context.Context) (maybeEnd bool, err error) {
	select {
	case event, ok := <-w.changes.Events:
		return !ok || event.Op != fsnotify.Write, nil
	case <-w.changes.Errors:
	case <-w.tick.C:
	case <-w.over:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return true, nil
}

func (w *watch) close() {
	w.tick.Stop()
	if w.changes.Events != nil {
		_ = w.changes.Close()
	}
}
