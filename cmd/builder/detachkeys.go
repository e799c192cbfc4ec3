package main

import (
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// detachKeys leave a container running, unless the user has chosen others: ctrl-p,
// ctrl-q.
var detachKeys = []byte{'p' & 0x1f, 'q' & 0x1f}

// readDetachKeys reads keys parted by commas, each a character or ctrl-KEY, and
// gives what a terminal sends for them.
func readDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return detachKeys, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		code, ok := keyCode(key)
		if !ok {
			return nil, fault.New("write keys parted by commas, such as ctrl-p,ctrl-q or ctrl-@,x",
				"invalid detach keys (%s): unknown character: '%s'", text, key)
		}
		keys = append(keys, code)
	}
	return keys, nil
}

// keyCode is the byte for a printable character, or for ctrl- and one of a to z,
// @, [, \, ], ^ and _.
func keyCode(key string) (byte, bool) {
	if len(key) == 1 {
		return key[0], ' ' <= key[0] && key[0] < 0x7f
	}
	control, is := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	if !is || len(control) != 1 {
		return 0, false
	}
	c := control[0]
	if 'a' <= c && c <= 'z' || strings.IndexByte(`@[\]^_`, c) >= 0 {
		return c & 0x1f, true
	}
	return 0, false
}
