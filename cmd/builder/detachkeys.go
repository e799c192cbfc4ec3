package main

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"

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

func detachKeysFlag() cli.Flag {
	return &cli.StringFlag{Name: "detach-keys", Hidden: true, Usage: "leave it running at these `KEYS`, such as ctrl-p,ctrl-q"}
}

// leaving passes on what it reads, until the keys come one after the other. Keys
// that may be the beginning are held back until more is known.
type leaving struct {
	from  io.Reader
	keys  []byte
	leave func()

	held    int    // so many keys have come
	waiting []byte // to be passed on
}

// Read is io.Reader's. After the keys the input is at its end.
func (l *leaving) Read(p []byte) (int, error) {
	for len(l.waiting) == 0 {
		if l.held == len(l.keys) {
			return 0, io.EOF
		}
		buffer := make([]byte, max(len(p), 1))
		n, err := l.from.Read(buffer)
		l.waiting = l.sift(buffer[:n])
		if l.held == len(l.keys) {
			l.leave()
			continue
		}
		if err != nil {
			l.waiting = append(l.waiting, l.keys[:l.held]...)
			l.held = 0
			if len(l.waiting) == 0 {
				return 0, err
			}
		}
	}
	n := copy(p, l.waiting)
	l.waiting = l.waiting[n:]
	return n, nil
}

// sift gives what is to be passed on of some input: what was held back as well,
// where that has turned out to be no more than a beginning.
func (l *leaving) sift(typed []byte) []byte {
	var through []byte
	for _, key := range typed {
		if key == l.keys[l.held] {
			if l.held++; l.held == len(l.keys) {
				return through
			}
			continue
		}
		through = append(through, l.keys[:l.held]...)
		l.held = 0
		if key == l.keys[0] {
			l.held = 1
			if len(l.keys) == 1 {
				return through
			}
			continue
		}
		through = append(through, key)
	}
	return through
}
