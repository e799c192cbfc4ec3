package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for id, name := range map[string]string{"aa11": "one", "aa22": "two", "bb33": ""} {
		own := filepath.Join(dir, id)
		err := errors.Join(
			os.Mkdir(own, 0o700),
			writeJSON(filepath.Join(own, configFile), Config{ID: id, Name: name}, false),
			writeJSON(filepath.Join(own, stateFile), State{Status: StatusExited}, false),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dd44"), 0o700); err != nil { // one that is going
		t.Fatal(err)
	}
	for ref, want := range map[string]string{"one": "aa11", "aa2": "aa22", "bb33": "bb33", "b": "bb33"} {
		if config, _, err := Find(dir, ref); err != nil || config.ID != want {
			t.Errorf("%s: %+v, %v", ref, config, err)
		}
	}
	for _, ref := range []string{"", "cc", "three", "dd", "../one"} {
		if _, _, err := Find(dir, ref); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, _, err := Find(dir, "aa"); err == nil || !strings.Contains(err.Error(), "2 containers") {
		t.Errorf("an ambiguous id: %v", err)
	}
	if _, _, err := Find(filepath.Join(dir, "nowhere"), "one"); !errors.Is(err, ErrUnknown) {
		t.Errorf("no containers at all: %v", err)
	}
}
