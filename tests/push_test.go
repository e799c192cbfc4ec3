package tests

import (
	"strings"
	"testing"
)

// On a terminal a push is one line when it is done, above docker's last one.
func TestPushOnATerminal(t *testing.T) {
	s, _ := newContext(t, "")
	registry, stop, err := startRegistry(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if _, err := s.builder("tag", "busybox", registry+"/app:v1"); err != nil {
		t.Fatal(err)
	}
	for _, sent := range []bool{true, false} { // the second time all is there
		term := newTerminal(t, s.command("builder", "push", registry+"/app:v1"), 100, 20)
		if code := term.ends(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		screen := term.shows("The push refers to repository ["+registry+"/app]", "pushed "+registry+"/app:v1", "v1: digest: sha256:", " size: ")
		if strings.Contains(screen, "MB ") != sent {
			t.Errorf("what is shown as sent:\n%s", screen)
		}
	}
}
