package dockerfile

import (
	"errors"
	"testing"
)

func TestContextNamesAreThoseOfImages(t *testing.T) {
	for name, want := range map[string]string{
		"alpine": "alpine", "alpine:latest": "alpine", "docker.io/library/alpine": "alpine", "alpine:3": "alpine:3",
		"example.com/a/b": "example.com/a/b", "Up": "", "": "", "a b": "",
	} {
		if got := ContextName(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func TestContextsStandInTheirPlace(t *testing.T) {
	const text = "FROM one AS a\nRUN x\nFROM a AS b\nCOPY --from=c / /\nFROM b\nCOPY --from=two / /\n"
	f, err := Parse("Dockerfile", []byte(text), Options{Contexts: map[string]string{"a": "", "two": "a", "c": "two"}})
	if err != nil {
		t.Fatal(err)
	}
	a, b, last := f.Stages[0], f.Stages[1], f.Stages[2]
	if !a.Replaced || a.Base != "a" || a.BaseStage != -1 || len(a.Instructions) != 0 {
		t.Errorf("stage a: %+v", a)
	}
	// b stands on a, which is a context now; what it copies is outside as well.
	if b.Replaced || len(b.Instructions) != 1 || b.Instructions[0].FromStage >= 0 || b.Instructions[0].FromImage != "c" {
		t.Errorf("stage b: %+v", b)
	}
	if last.BaseStage != 1 || last.Instructions[0].FromImage != "two" {
		t.Errorf("the last stage: %+v", last)
	}
}

func TestCircularContextsAreErrors(t *testing.T) {
	for name, contexts := range map[string]map[string]string{
		"two":    {"one": "two", "two": "one"},
		"itself": {"one": "one"},
		"stage":  {"one": "a"},
	} {
		_, err := Parse("Dockerfile", []byte("FROM one AS a\nRUN x\n"), Options{Contexts: contexts})
		if !errors.Is(err, errCircular) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
