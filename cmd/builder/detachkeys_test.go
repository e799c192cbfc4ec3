package main

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
			l := &leaving{from: from, keys: []byte(c.keys), leave: func() { left = true }}
			through, err := io.ReadAll(l)
			if err != nil || string(through) != c.through || left != c.left {
				t.Errorf("keys %q, %q typed %s: %q goes through, left %t, error %v", c.keys, c.typed, name, through, left, err)
			}
		}
	}
}
