package live

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

func TestTameLeavesOnlyText(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"plain", "plain"},
		{"\x1b[31mred\x1b[0m", "red"},
		{"\x1b]0;title\x07after \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "after link"},
		{"\x1b[2J\x1b[Hcleared", "cleared"},
		{"a\tb", "a       b"},
		{"日\tb", "日      b"},
		{"10%\r 50%\r100%", "100%"},
		{"10%\r 50%\r", " 50%"},
		{"bell\x07, backspace\x08, nul\x00, del\x7f", "bell, backspace, nul, del"},
		{"c1\u009b31m", "c131m"},
		{"not UTF-8: \xff\xfe", "not UTF-8: \ufffd"},
		{"\u202egnorw\u202c", "gnorw"},
		{"e\u0301 日本 🧑‍🧑‍🧒", "e\u0301 日本 🧑‍🧑‍🧒"},
		{"trailing   ", "trailing"},
		{"\x1b[", ""},
	} {
		if got := tame(test.line); got != test.want {
			t.Errorf("%q becomes %q, not %q", test.line, got, test.want)
		}
	}
}

func TestClipCountsCells(t *testing.T) {
	s := Style{Unicode: true}
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcde…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"abc", 0, ""},
		{"abc", 1, "…"},
		// A vowel point has a cell of its own, or none with the letter before it.
		{"Jֹ", 1, "…"},
	} {
		if got := s.clip(test.text, test.width); got != test.want {
			t.Errorf("%q in %d cells is %q, not %q", test.text, test.width, got, test.want)
		}
	}
}

func FuzzTame(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\r\t日")
	f.Add("ABCDEFGHIJ\u05b9")
	f.Fuzz(func(t *testing.T, line string) {
		got := tame(line)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\r\n\t\x00\u009b") {
			t.Errorf("%q becomes %q", line, got)
		}
		if w := ansi.StringWidthWc(Style{}.clip(got, 10)); w > 10 {
			t.Errorf("%q takes %d cells of 10", line, w)
		}
	})
}
