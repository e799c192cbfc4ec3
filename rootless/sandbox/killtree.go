package sandbox

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// KillAll ends the program and what it has started, but for what has been left by
// its own parent, as daemons are. Nothing is started meanwhile: all are stopped
// before the first of them is killed.
func (r *Running) KillAll() error {
	select {
	case <-r.ended:
		return nil // the number may be another's
	default:
	}
	stopped := map[int]bool{}
	for found := true; found; {
		found = false
		for _, pid := range descendants(r.process.Pid) {
			if !stopped[pid] && unix.Kill(pid, unix.SIGSTOP) == nil {
				stopped[pid], found = true, true
			}
		}
	}
	err := r.Kill()
	for pid := range stopped {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return err
}

// descendants are a process and its children, and theirs.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		if child, err := strconv.Atoi(strings.Split(stat, "/")[2]); err == nil {
			of := parent(child)
			children[of] = append(children[of], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}
