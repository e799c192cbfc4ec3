package live

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// sent is a frame without what every frame has.
func sent(t *testing.T, frame string) string {
	t.Helper()
	inner, ok := strings.CutPrefix(frame, beforeFrame)
	if !ok {
		t.Fatalf("%q doesn't begin as frames do", frame)
	}
	inner, ok = strings.CutSuffix(inner, afterFrame)
	if !ok {
		t.Fatalf("%q doesn't end as frames do", frame)
	}
	return strings.ReplaceAll(inner, ansi.EraseLineRight, "$")
}

func TestAreaIsDrawnInPlace(t *testing.T) {
	var a area
	for _, step := range []struct {
		what           string
		settled, lines []string
		width          int
		reflows        bool
		want           string
	}{
		{"the first", nil, []string{"one", "two"}, 80, true, "$one$\n$two$\n"},
		{"a line more", nil, []string{"one", "two", "three"}, 80, true, "\x1b[2Aone$\ntwo$\nthree$\n"},
		{"one settled", []string{"one"}, []string{"two", "three"}, 80, true, "\x1b[3Aone$\ntwo$\nthree$\n"},
		{"one less", nil, []string{"three"}, 80, true, "\x1b[2Athree$\n$\n\x1b[A"},
		{"wider", nil, []string{"three, longer"}, 90, true, "\x1b[A$three, longer$\n"},
		{"narrower, broken in three", nil, []string{"three"}, 6, true, "\x1b[3A$three$\n$\n$\n\x1b[2A"},
		{"narrower, cut", nil, []string{"thre"}, 5, false, "\x1b[A$thre$\n"},
		{"a long one settled", []string{"0123456789"}, []string{"thre"}, 5, true, "\x1b[A0123456789\nthre$\n"},
		{"more than the screen", nil, []string{"1", "2", "3", "4", "5"}, 5, true, "\x1b[A1$\n2$\n3$\n4$\n5$\n"},
		{"narrower, and much of it gone", nil, []string{"1"}, 1, true, "\x1b[5A$1\n$\n$\n$\n$\n\x1b[4A"},
		{"the end", nil, nil, 1, true, "\x1b[A$\n\x1b[A"},
	} {
		if got := sent(t, a.redraw(step.settled, step.lines, Size{step.width, 6}, step.reflows)); got != step.want {
			t.Errorf("%s: sent %q, not %q", step.what, got, step.want)
		}
	}
}

func TestAreaThatDoesntChangeIsntDrawn(t *testing.T) {
	var a area
	a.redraw(nil, []string{"one"}, Size{80, 24}, true)
	if got := a.redraw(nil, []string{"one"}, Size{80, 24}, true); got != "" {
		t.Errorf("sent %q", got)
	}
}
