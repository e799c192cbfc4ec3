package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/buildkit/frontend/dockerfile/command"
)

// placeWidth is how much of an instruction's text errors quote, in characters.
const placeWidth = 60

// place is "file:line: text"; without a line it is just the file.
func place(file string, line int, text string) string {
	if line <= 0 {
		return file
	}
	at := fmt.Sprintf("%s:%d", file, line)
	if text = oneLine(text); text != "" {
		at += ": " + text
	}
	return at
}

// oneLine makes a short printable line of any text.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > placeWidth {
		return strings.TrimSpace(string(runes[:placeWidth-1])) + "…"
	}
	return text
}

// faultAt makes the error that a user reads.
func faultAt(at, remedy, format string, args ...any) error {
	e := fault.New(remedy, format, args...)
	e.Place = at
	return e
}

// tidy gives BuildKit's errors the house's form: lower case, and without the
// words that wrap what matters.
func tidy(err error) error {
	msg := strings.TrimPrefix(err.Error(), "failed to process ")
	msg = strings.TrimPrefix(msg, "failed to ")
	// The lexer names the character that it met, but the end of the text is none.
	msg = strings.Replace(msg, "unsupported modifier (\ufffd) in substitution", "syntax error: missing '}'", 1)
	words := strings.SplitN(msg, " ", 2)
	if r := []rune(words[0]); len(r) > 1 && unicode.IsUpper(r[0]) && unicode.IsLower(r[1]) {
		msg = string(unicode.ToLower(r[0])) + msg[len(string(r[0])):]
	}
	return errors.New(msg)
}

// sourceLine is one line of the text, from one; "" outside of it.
func sourceLine(src []byte, line int) string {
	for text := range strings.Lines(string(src)) {
		if line--; line == 0 {
			return text
		}
	}
	return ""
}

// closestInstruction finds the instruction that a misspelt word may stand for.
func closestInstruction(word string) (string, bool) {
	meant, ok := nearestWord(strings.ToLower(word), slices.Sorted(maps.Keys(command.Commands)))
	return strings.ToUpper(meant), ok
}
