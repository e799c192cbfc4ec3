package format

import (
	"strings"
	"unicode"
)

// shown takes from a text what would steer a terminal, or turn the direction of
// what stands there: an image's config quotes what a stranger wrote.
func shown(text string) string {
	if isHarmless(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return '?'
		}
		return r
	}, text)
}

// isHarmless tells a text of ASCII that is fit to be shown, as most are.
func isHarmless(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c > '~') && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}
