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

// pause lies between two drawings of the view.
const pause = 100 * time.Millisecond

// View draws a Model on a terminal while it changes. It may be used by several
// goroutines.
//
// Nothing of the terminal's state is changed beyond a single write: whatever
// ends the process, and be it a kill, leaves the cursor shown and below the
// last line.
type View struct {
	terminal *os.File
	style    Style
	// Whole keeps stages that are finished in the view until its end, so that
	// it can be discarded without a trace.
	whole  bool
	broken func(error)

	mu     sync.Mutex
	model  Model
	area   area
	above  bytes.Buffer
	failed bool // a failed step's output was shown
	err    error

	end  chan struct{}
	done chan struct{}
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

// Start begins to draw what becomes of a model on a terminal. The first drawing
// comes after a moment: what is done by then needs none.
func Start(terminal *os.File, m Model, o Options) *View {
	v := &View{
		terminal: terminal, style: o.Style, whole: o.Whole, broken: o.Broken,
		model: m,
		end:   make(chan struct{}), done: make(chan struct{}),
	}
	go v.run()
	return v
}

func (v *View) run() {
	defer close(v.done)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	for {
		select {
		case <-ticker.C:
			v.draw()
		case <-resumed:
			v.leave()
		case <-v.end:
			return
		}
	}
}

// Update changes the model. The function must not keep it.
func (v *View) Update(change func(m *Model, now time.Time)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.model, time.Now())
}

// Write prints text above the view.
func (v *View) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return 0, v.err
	}
	return v.above.Write(p)
}

// Err is the first error of writing.
func (v *View) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// Close ends the view. What was done stays on the terminal, and of a step that
// failed all that is known of its output. The View must not be used again.
func (v *View) Close() {
	v.stop()
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	v.model.stop(now)
	v.flush(v.settled(v.model.takeAll(), now), nil)
}

// Discard ends the view and takes it off the terminal, but for what was
// written above it.
func (v *View) Discard() {
	v.stop()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.flush(nil, nil)
}

// ShowedFailure says whether a failed step's output was shown at the end.
func (v *View) ShowedFailure() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed
}

func (v *View) stop() {
	close(v.end)
	<-v.done
}

// leave gives the area up to what stands there now, such as a shell's word that
// the job goes on, and begins another one below.
func (v *View) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.area = area{}
}

func (v *View) draw() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, size := time.Now(), v.size()
	var finished []*group
	if !v.whole {
		finished = v.model.takeFinished()
	}
	v.flush(v.settled(finished, now), v.style.Screen(&v.model, size, now))
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

// flush draws: lines that stay, and below them the area with others.
func (v *View) flush(settled, lines []string) {
	if v.err != nil {
		return
	}
	if v.above.Len() > 0 {
		settled = append(strings.Split(strings.TrimSuffix(v.above.String(), "\n"), "\n"), settled...)
		v.above.Reset()
	}
	frame := v.area.redraw(settled, lines, v.size(), v.style.Reflows)
	if frame == "" {
		return
	}
	if _, v.err = io.WriteString(v.terminal, frame); v.err != nil && v.broken != nil {
		v.broken(v.err)
	}
}

// size is the terminal's. Some that are no real ones don't tell.
func (v *View) size() Size {
	width, height, err := cwriter.GetSize(int(v.terminal.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return Size{80, 24}
	}
	return Size{width, height}
}
