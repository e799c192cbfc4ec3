package detach

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestKeysLeaveAndBeginningsArePassedOn(t *testing.T) {
	for _, c := range []struct {
		keys, typed, through string
		left                 bool
	}{
		{"\x10\x11", "hello", "hello", false},
		{"\x10\x11", "a\x10\x11b", "a", true},
		{"\x10\x11", "a\x10b\x10", "a\x10b\x10", false},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"\x10\x11", "\x10\x10", "\x10\x10", false},
		{"q", "aqb", "a", true},
		{"aab", "aaab", "a", true},
		{"aab", "aaxaab", "aax", true},
	} {
		for name, from := range map[string]io.Reader{
			"at once": strings.NewReader(c.typed), "byte by byte": iotest.OneByteReader(strings.NewReader(c.typed)),
		} {
			left := false
			r := NewReader(from, []byte(c.keys), func() { left = true })
			through, err := io.ReadAll(r)
			if err != nil || string(through) != c.through || left != c.left {
				t.Errorf("keys %q, %q typed %s: %q goes through, left %t, error %v", c.keys, c.typed, name, through, left, err)
			}
		}
	}
}

func TestKeysAreReadAsDockerWritesThem(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "q": "q", "ctrl-p,ctrl-q": "\x10\x11", "CTRL-a,x": "\x01x", "ctrl-@,DEL": "\x00\x7f", `ctrl-[,ctrl-\,ctrl-],ctrl-^,ctrl-_`: "\x1b\x1c\x1d\x1e\x1f",
	} {
		if keys, err := ParseKeys(text); err != nil || string(keys) != want {
			t.Errorf("%q: %q, %v", text, keys, err)
		}
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "ctrl-ab", "xy", "a,,b", "ctrl-p,"} {
		if keys, err := ParseKeys(text); err == nil {
			t.Errorf("%q: %q", text, keys)
		}
	}
}
