package live

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
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
	area   *cwriter.Writer
	shown  []string // the lines that stand in the area
	width  int      // of the terminal when they were drawn
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
		model: m, area: cwriter.New(frames{terminal}),
		end: make(chan struct{}), done: make(chan struct{}),
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
	v.area.Reset()
	v.shown = nil
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
	width := v.size().Width
	if v.err != nil || v.above.Len() == 0 && len(settled) == 0 && width == v.width && slices.Equal(lines, v.shown) {
		return
	}
	if v.style.Reflows && width < v.width && len(v.shown) > 0 {
		v.area.Reset()
		v.area.WriteString(ansi.CursorUp(height(v.shown, width)) + ansi.EraseScreenBelow)
	}
	_, _ = v.above.WriteTo(v.area) // a buffer takes everything
	for _, line := range slices.Concat(settled, lines) {
		v.area.WriteString(line + "\n")
	}
	v.shown, v.width = lines, width
	if v.err = v.area.Flush(len(lines)); v.err != nil && v.broken != nil {
		v.broken(v.err)
	}
}

// height is how many lines texts take on a terminal of a width.
func height(lines []string, width int) int {
	n := 0
	for _, line := range lines {
		n += max(1, (ansi.StringWidth(line)+width-1)/width)
	}
	return n
}

// size is the terminal's. Some that are no real ones don't tell.
func (v *View) size() Size {
	width, height, err := cwriter.GetSize(int(v.terminal.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return Size{80, 24}
	}
	return Size{width, height}
}

// Restore undoes what a View may have left in the midst of a write when its
// process was killed.
func Restore(terminal io.Writer) { _, _ = io.WriteString(terminal, afterFrame) }

// A frame is drawn without the cursor, and at once on terminals that know
// synchronized output. The cursor may stand behind a ^C that was echoed.
var (
	beforeFrame = ansi.SetModeSynchronizedOutput + ansi.HideCursor + "\r"
	afterFrame  = ansi.ShowCursor + ansi.ResetModeSynchronizedOutput
)

// frames writes each frame in one write.
type frames struct{ terminal io.Writer }

func (f frames) Write(p []byte) (int, error) {
	if _, err := fmt.Fprint(f.terminal, beforeFrame+string(p)+afterFrame); err != nil {
		return 0, err
	}
	return len(p), nil
}
