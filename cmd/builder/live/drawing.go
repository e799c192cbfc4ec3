package live

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vbauerster/mpb/v8/cwriter"
)

// pause lies between two drawings.
const pause = 100 * time.Millisecond

// drawing draws lines in place again and again, until it is ended. It may be used
// by several goroutines.
//
// Nothing of the terminal's state is changed beyond a single write: whatever
// ends the process, and be it a kill, leaves the cursor shown and below the
// last line.
type drawing struct {
	terminal *os.File
	reflows  bool
	broken   func(error)
	// frame gives what is to be seen at a time, under mu: lines that stay, and
	// below them those that are drawn again.
	frame func(size Size, now time.Time) (settled, lines []string)

	mu    sync.Mutex
	area  area
	above bytes.Buffer
	err   error

	end  chan struct{}
	done chan struct{}
}

// start begins to draw. The first drawing comes after a moment: what is done by
// then needs none.
func (d *drawing) start() {
	d.end, d.done = make(chan struct{}), make(chan struct{})
	go d.run()
}

func (d *drawing) run() {
	defer close(d.done)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	for {
		select {
		case <-ticker.C:
			d.draw()
		case <-resumed:
			d.leave()
		case <-d.end:
			return
		}
	}
}

// Write prints text above what is drawn.
func (d *drawing) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	return d.above.Write(p)
}

// Err is the first error of writing.
func (d *drawing) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Discard ends the drawing and takes it off the terminal, but for what was
// written above it.
func (d *drawing) Discard() { d.finish(func(time.Time) []string { return nil }) }

// finish ends the drawing and leaves the lines that last gives in its place.
func (d *drawing) finish(last func(now time.Time) []string) {
	close(d.end)
	<-d.done
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(last(time.Now()), nil)
}

// leave gives the area up to what stands there now, such as a shell's word that
// the job goes on, and begins another one below.
func (d *drawing) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.area = area{}
}

func (d *drawing) draw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(d.frame(d.size(), time.Now()))
}

// flush draws: lines that stay, and below them the area with others.
func (d *drawing) flush(settled, lines []string) {
	if d.err != nil {
		return
	}
	if d.above.Len() > 0 {
		settled = append(strings.Split(strings.TrimSuffix(d.above.String(), "\n"), "\n"), settled...)
		d.above.Reset()
	}
	frame := d.area.redraw(settled, lines, d.size(), d.reflows)
	if frame == "" {
		return
	}
	if _, d.err = io.WriteString(d.terminal, frame); d.err != nil && d.broken != nil {
		d.broken(d.err)
	}
}

// size is the terminal's. Some that are no real ones don't tell.
func (d *drawing) size() Size {
	width, height, err := cwriter.GetSize(int(d.terminal.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return Size{80, 24}
	}
	return Size{width, height}
}
