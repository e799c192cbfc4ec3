package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
)

// usualDetachKeys leave a container running where nothing else was said: ctrl-p,
// ctrl-q.
var usualDetachKeys = []byte{'p' & 0x1f, 'q' & 0x1f}

func detachKeysFlag() cli.Flag {
	return &cli.StringFlag{Name: "detach-keys", Hidden: true, Usage: "leave it running at these `KEYS`, such as ctrl-p,ctrl-q"}
}

// readDetachKeys gives what a terminal sends for the keys that the user leaves a
// container by: those of the flag, else those in docker's configuration.
func readDetachKeys(c *cli.Context) ([]byte, error) {
	if text := c.String("detach-keys"); text != "" {
		return parseDetachKeys(text)
	}
	if keys, err := parseDetachKeys(dockerDetachKeys()); err == nil && len(keys) > 0 {
		return keys, nil
	}
	return usualDetachKeys, nil
}

// parseDetachKeys reads keys parted by commas, each a character, ctrl-KEY or DEL.
func parseDetachKeys(text string) (keys []byte, err error) {
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

// dockerDetachKeys are those that the user has chosen for docker.
func dockerDetachKeys() string {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	var config struct {
		DetachKeys string `json:"detachKeys"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil || json.Unmarshal(data, &config) != nil {
		return ""
	}
	return config.DetachKeys
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
// where that has turned out to be no beginning.
func (l *leaving) sift(typed []byte) []byte {
	var through []byte
	for _, key := range typed {
		pending := append(slices.Clone(l.keys[:l.held]), key)
		first := 0
		for !bytes.HasPrefix(l.keys, pending[first:]) {
			first++
		}
		through = append(through, pending[:first]...)
		if l.held = len(pending) - first; l.held == len(l.keys) {
			break
		}
	}
	return through
}
