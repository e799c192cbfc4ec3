package main

import (
	"strings"
	"testing"
)

func TestCompletionBehindADoubleDashExecutesNothing(t *testing.T) {
	for line, want := range map[string]bool{
		"builder rmi -- victim " + completing:      true,
		"builder rmi -- " + completing:             true,
		"builder -- " + completing:                 true,
		"builder rmi victim " + completing:         false,
		"builder rmi -- victim":                    false,
		"builder rmi " + completing + " -- victim": false,
		completing: false,
	} {
		if got := completesArgument(strings.Fields(line)); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
	// Were it executed, it would fail for its unknown flag.
	if code := run([]string{programName, "images", "--nonsense", "--", completing}); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
