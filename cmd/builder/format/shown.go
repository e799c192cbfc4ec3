package format

import (
	"strings"
	"unicode"
)

// shown takes from a text what would steer a terminal, or turn the direction of
// what stands there: an image's config quotes what a stranger wrote.
func shown(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return '?'
		}
		return r
	}, text)
}

// isPlain tells a text of printable ASCII alone, as nearly all are.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' && c != '\n' && c != '\t') || c > '~' {
			return false
		}
	}
	return true
}
