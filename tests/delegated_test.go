package tests

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// cgroupEnv names a cgroup that is delegated to the user who runs the tests,
// has its controllers on for those below, and has the tests' own cgroup beside
// it. It stands in for a systemd of the user.
const cgroupEnv = "BUILDER_TEST_CGROUP"

// delegated says whether a cgroup can be had in which limits are held.
var delegated = sync.OnceValue(func() bool {
	if os.Getenv(cgroupEnv) != "" {
		return true
	}
	cmd := exec.Command("systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes", "true")
	cmd.Env = append(os.Environ(), fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Getuid()))
	return cmd.Run() == nil
})
