package live

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// The widths of a bar; below the least the numbers stand alone.
const (
	leastBar = 8
	mostBar  = 40
)

// bar draws a bar with its label and numbers.
func (s Style) bar(b *bar, width int) string {
	left := b.label
	if left != "" {
		left += " "
	}
	right := fmt.Sprintf(" %s / %s", size(b.done), size(b.total))
	room := min(width-ansi.StringWidthWc(left)-ansi.StringWidthWc(right), mostBar)
	if room < leastBar {
		return s.clip(left+strings.TrimSpace(right), width)
	}
	var drawn strings.Builder
	err := s.filler().Fill(&drawn, decor.Statistics{AvailableWidth: room, Total: b.total, Current: min(b.done, b.total)})
	if err != nil {
		return s.clip(left+strings.TrimSpace(right), width)
	}
	return left + strings.TrimSpace(drawn.String()) + right
}

// filler is what draws bars in the style's characters.
func (s Style) filler() mpb.BarFiller {
	marks := []rune(s.signs().bar)
	full := string(marks[1])
	return mpb.BarStyle().Lbound(string(marks[0])).Filler(full).Tip(full).Padding(" ").Rbound(string(marks[2])).Build()
}
