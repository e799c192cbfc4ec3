package live

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// tabStop is where terminals have their tabs.
const tabStop = 8

// tame makes of a line that a program has printed what can stand on a line of
// the view: the text that a terminal would show last, without control
// characters and escape sequences. What was written over by carriage returns,
// such as a progress in percent, is gone.
func tame(line string) string {
	line = ansi.Strip(strings.ToValidUTF8(line, string(utf8.RuneError)))
	line = strings.TrimRight(line, "\r")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	var b strings.Builder
	column := 0
	for _, r := range line {
		switch {
		case r == '\t':
			n := tabStop - column%tabStop
			b.WriteString(strings.Repeat(" ", n))
			column += n
		case unicode.IsControl(r) || reorders(r) || r == emojiStyle:
		default:
			b.WriteRune(r)
			column += ansi.StringWidthWc(string(r))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// emojiStyle asks for the emoji of the character before it, which some terminals
// show wider then. Of all else the cells are counted character by character
// (StringWidthWc), as most terminals do; those that show whole clusters, such as
// families of emoji, need fewer, and no line gets longer than was counted.
const emojiStyle = '\ufe0f'

// reorders tells the characters by which a text can make the rest of its line
// run the other way.
func reorders(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// clip cuts a text without escape sequences to what fits into so many cells.
// (ansi.TruncateWc measures whole clusters before it counts characters, and lets
// pass what is wider than it should be.)
func (s Style) clip(text string, width int) string {
	if width <= 0 {
		return ""
	}
	if ansi.StringWidthWc(text) <= width {
		return text
	}
	more := s.signs().more
	room := width - ansi.StringWidthWc(more)
	if room < 0 {
		return ""
	}
	for i, r := range text {
		if room -= ansi.StringWidthWc(string(r)); room < 0 {
			return text[:i] + more
		}
	}
	return text
}

// spread puts one text at the left and one at the right of a line; the right
// one goes where there is no room for both.
func (s Style) spread(left, right string, width int) string {
	room := width - ansi.StringWidthWc(right) - 1
	if right == "" || room < narrowest {
		return s.clip(left, width)
	}
	left = s.clip(left, room)
	return left + strings.Repeat(" ", room+1-ansi.StringWidthWc(left)) + right
}

// narrowest is the least that is left of a text for the time beside it.
const narrowest = 10

// Style is what the terminal can show.
type Style struct {
	// Color permits attributes: faint, bold and a few colours.
	Color bool
	// Unicode permits characters outside ASCII.
	Unicode bool
	// Reflows says that it breaks lines in two when it becomes narrower, as all
	// but a few do.
	Reflows bool
}

// signs are the characters of a style.
type signs struct{ done, failed, running, waiting, stopped, more, bar string }

func (s Style) signs() signs {
	if s.Unicode {
		return signs{"✓", "✗", "▸", "·", "■", "…", "▕█▏"}
	}
	return signs{"+", "x", ">", ".", "-", "...", "[#]"}
}

// The attributes in use, as ECMA-48 numbers them.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

// paint gives a text an attribute.
func (s Style) paint(attribute, text string) string {
	if !s.Color || attribute == "" || text == "" {
		return text
	}
	return "\x1b[" + attribute + "m" + text + "\x1b[0m"
}
