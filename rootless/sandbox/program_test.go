package sandbox

import (
	"os/exec"
	"testing"
)

func TestExitCodeOfAKilledRuntimeIsAShells(t *testing.T) {
	for script, want := range map[string]int{"exit 3": 3, "kill -KILL $$": 137, "kill -TERM $$": 143} {
		cmd := exec.Command("sh", "-c", script)
		code, err := exitCode(cmd, cmd.Run())
		if code != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", script, code, err, want)
		}
	}
}
