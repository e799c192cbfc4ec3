package live

import (
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A frame is drawn without the cursor, and at once on terminals that know
// synchronized output. In the cursor's line a ^C may stand that was echoed.
const (
	beforeFrame = ansi.SetModeSynchronizedOutput + ansi.HideCursor + "\r" + ansi.EraseLineRight
	afterFrame  = ansi.ShowCursor + ansi.ResetModeSynchronizedOutput
)

// Restore undoes what a View may have left in the midst of a write when its
// process was killed.
func Restore(terminal io.Writer) { _, _ = io.WriteString(terminal, afterFrame) }

// area is the lines above the cursor that are drawn again and again.
type area struct {
	shown []string
	width int // of the terminal when they were drawn
}

// redraw gives what a terminal has to be sent so that settled stands where the
// area was, and lines below it, which are the area then; "" where that changes
// nothing. Lines are erased one by one: some terminals keep what is erased from
// their first line on for scrolling back.
func (a *area) redraw(settled, lines []string, size Size, reflows bool) string {
	width := size.Width
	if len(settled) == 0 && width == a.width && slices.Equal(lines, a.shown) {
		return ""
	}
	old := len(a.shown)
	if reflows && width < a.width {
		old = rows(a.shown, width)
	}
	old = min(old, size.Height-1) // what has left the screen can't be reached
	var b strings.Builder
	b.WriteString(beforeFrame)
	up(&b, old)
	for _, line := range slices.Concat(settled, lines) {
		if width != a.width {
			// The terminal forgets that it had broken what stood here.
			b.WriteString(ansi.EraseLineRight)
		}
		b.WriteString(line)
		if w := ansi.StringWidthWc(line); w == 0 || w%width != 0 {
			b.WriteString(ansi.EraseLineRight)
		}
		b.WriteByte('\n')
	}
	if left := old - rows(settled, width) - len(lines); left > 0 {
		b.WriteString(strings.Repeat(ansi.EraseLineRight+"\n", left))
		up(&b, left)
	}
	b.WriteString(afterFrame)
	a.shown, a.width = lines, width
	return b.String()
}

// up moves the cursor; some terminals take 0 for 1.
func up(b *strings.Builder, n int) {
	if n > 0 {
		b.WriteString(ansi.CursorUp(n))
	}
}

// rows is how many lines texts take on a terminal of a width.
func rows(lines []string, width int) int {
	n := 0
	for _, line := range lines {
		n += max(1, (ansi.StringWidthWc(line)+width-1)/width)
	}
	return n
}
