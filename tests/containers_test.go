package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// monitorOf gives the id of a container that is called so, and the process of its
// monitor, 0 where it has none. It asks the kernel who locks the container.
func (s *state) monitorOf(name string) (id string, pid int, err error) {
	configs, err := filepath.Glob(filepath.Join(s.root(), "containers", "*", "config.json"))
	if err != nil {
		return "", 0, err
	}
	for _, file := range configs {
		var config struct{ ID, Name string }
		data, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(data, &config) != nil || config.Name != name {
			continue
		}
		pid, err := lockHolder(filepath.Join(filepath.Dir(file), "lock"))
		return config.ID, pid, err
	}
	return "", 0, fmt.Errorf("no container is called %q", name)
}

// lockHolder gives the process that has locked a file, 0 where none has.
func lockHolder(file string) (int, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	inode := ":" + strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK ADVISORY WRITE 708 fe:00:262150 0 EOF
		words := strings.Fields(line)
		if len(words) > 5 && words[1] == "FLOCK" && strings.HasSuffix(words[5], inode) {
			return strconv.Atoi(words[4])
		}
	}
	return 0, nil
}

// monitor NAME puts the process of a container's monitor into MONITOR, and the
// container's id into ID.
func monitor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: monitor NAME")
	}
	id, pid, err := stateOf(ts).monitorOf(args[0])
	ts.Check(err)
	if pid == 0 {
		ts.Fatalf("container %s has no monitor", args[0])
	}
	ts.Setenv("ID", id)
	ts.Setenv("MONITOR", strconv.Itoa(pid))
}
