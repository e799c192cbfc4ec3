package cache

import (
	"errors"
	"io"
	"testing"
)

func TestALogIsFoundByTheDigitsOfItsStep(t *testing.T) {
	c := newCache(t)
	log := func(name, text string) string {
		path, w, err := c.LogFile(keyOf(name))
		must(t, err)
		_, err = io.WriteString(w, text)
		must(t, errors.Join(err, w.Close()))
		return path
	}
	must(t, c.PutStep(&Step{Key: keyOf("ran"), Result: keyOf("result"), Log: "/moved/" + log("result", "said")}, nil))
	must(t, c.PutStep(&Step{Key: keyOf("copied"), Result: keyOf("other")}, nil))
	log("failed", "said no")
	for id, want := range map[string]string{keyOf("ran").Encoded()[:12]: "said", keyOf("failed").Encoded()[:12]: "said no"} {
		f, err := c.FindLog(id)
		must(t, err)
		text, err := io.ReadAll(f)
		must(t, errors.Join(err, f.Close()))
		if string(text) != want {
			t.Errorf("%s: %q", id, text)
		}
	}
	for id, want := range map[string]error{
		keyOf("copied").Encoded()[:12]: ErrNoOutput, "../steps": ErrNotFound, "": ErrNotFound, "ffffffffffff": ErrNotFound,
	} {
		if _, err := c.FindLog(id); !errors.Is(err, want) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
