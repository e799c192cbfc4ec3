// Package detach leaves a program running when keys are typed on the terminal that
// it is attached to.
package detach

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// ParseKeys reads keys parted by commas, each a character, ctrl-KEY or DEL, and
// gives what a terminal sends for them.
func ParseKeys(text string) (keys []byte, err error) {
	if text == "" {
		return nil, nil
	}
	for key := range strings.SplitSeq(text, ",") {
		code, ok := keyCode(key)
		if !ok {
			return nil, fault.New("write keys parted by commas, such as ctrl-p,ctrl-q or ctrl-@,x",
				"invalid detach keys (%s) provided: unknown character: '%s'", text, key)
		}
		keys = append(keys, code)
	}
	return keys, nil
}

// keyCode is the byte for a character, or for ctrl- and one of a to z, @, [, \, ],
// ^ and _.
func keyCode(key string) (byte, bool) {
	if len(key) == 1 {
		return key[0], true
	}
	if key == "DEL" {
		return 0x7f, true
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

// Reader passes on what it reads, until the keys come one after the other. Keys
// that may be the beginning are held back until more is known.
type Reader struct {
	from  io.Reader
	keys  []byte
	leave func()

	held    int    // so many keys have come
	waiting []byte // to be passed on
}

// NewReader gives a reader of from that calls leave, once, when the keys have come.
// There is at least one.
func NewReader(from io.Reader, keys []byte, leave func()) *Reader {
	return &Reader{from: from, keys: keys, leave: leave}
}

// Read is io.Reader's. After the keys the input is at its end.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.waiting) == 0 {
		if r.held == len(r.keys) {
			return 0, io.EOF
		}
		buffer := make([]byte, max(len(p), 1))
		n, err := r.from.Read(buffer)
		r.waiting = r.sift(buffer[:n])
		if r.held == len(r.keys) {
			r.leave()
			continue
		}
		if err != nil {
			r.waiting = append(r.waiting, r.keys[:r.held]...)
			r.held = 0
			if len(r.waiting) == 0 {
				return 0, err
			}
		}
	}
	n := copy(p, r.waiting)
	r.waiting = r.waiting[n:]
	return n, nil
}

// sift gives what is to be passed on of some input: what was held back as well,
// where that has turned out to be no beginning.
func (r *Reader) sift(typed []byte) []byte {
	var through []byte
	for _, key := range typed {
		pending := append(slices.Clone(r.keys[:r.held]), key)
		first := 0
		for !bytes.HasPrefix(r.keys, pending[first:]) {
			first++
		}
		through = append(through, pending[:first]...)
		if r.held = len(pending) - first; r.held == len(r.keys) {
			break
		}
	}
	return through
}
