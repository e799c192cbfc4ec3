package tests

import (
	"strings"
	"testing"
)

// Ctrl-C at a question ends builder, and nothing is done.
func TestQuestionsCanBeInterrupted(t *testing.T) {
	for _, command := range []string{"system reset", "cache prune", "image prune", "system prune"} {
		t.Run(command, func(t *testing.T) {
			s, _ := newContext(t, "")
			term := newTerminal(t, s.command("builder", strings.Fields(command)...), 200, 24)
			term.shows("[y/N]")
			term.types("\x03")
			if code := term.ends(); code != 130 {
				t.Errorf("exit code %d", code)
			}
			term.shows("interrupted")
			if ids, err := s.builder("images", "-q"); err != nil || len(ids) == 0 {
				t.Errorf("the image is gone: %v", err)
			}
		})
	}
}
