package chroot

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Without a pid namespace the keeper stands in for its first process: what the
// program leaves running becomes its child, and is killed when the program has
// ended, or when builder has.

// hasPIDNamespace tells whether the kernel ends the rest.
func (in *invocation) hasPIDNamespace() bool {
	for _, ns := range in.spec.Linux.Namespaces {
		if ns.Type == "pid" {
			return true
		}
	}
	return false
}

// gather makes orphans this process's children.
func (in *invocation) gather() error {
	if in.leftAlone || in.hasPIDNamespace() {
		return nil
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// watchOver reaps orphans while the program runs, and ends it when builder has
// ended. The function that it gives ends the rest.
func (k *keeper) watchOver() (over func()) {
	if k.in.hasPIDNamespace() {
		return func() {}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM)
	go func() {
		for s := range signals {
			if s == unix.SIGTERM { // the parent-death signal
				_ = k.child.Kill()
				continue
			}
			k.reapOrphans()
		}
	}()
	return func() {
		signal.Stop(signals)
		endRest()
	}
}

// reapOrphans reaps what isn't the program, whose exit code another awaits.
func (k *keeper) reapOrphans() {
	for {
		pid := endedChild(k.child.Pid)
		if pid == 0 {
			return
		}
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// endedChild gives a child that has ended, other than one, and 0 where there is none.
func endedChild(other int) int {
	for _, child := range descendants(os.Getpid(), true) {
		if _, state := lookUp(child); child != other && state == 'Z' {
			return child
		}
	}
	return 0
}

// killPause lies between two looks at what dies.
const killPause = time.Millisecond

// endRest kills all that is beneath this process, and returns when there is
// nothing.
func endRest() {
	for {
		for _, pid := range descendants(os.Getpid(), false) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return
		case pid == 0:
			time.Sleep(killPause)
		}
	}
}

// descendants gives the processes beneath one, or only its children.
func descendants(of int, children bool) (pids []int) {
	parents := map[int]int{}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before an error still counts
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			parents[pid], _ = lookUp(pid)
		}
	}
	for pid := range parents {
		for up := parents[pid]; up > 0; up = parents[up] {
			if up == of {
				pids = append(pids, pid)
				break
			}
			if children {
				break
			}
		}
	}
	return pids
}

// lookUp reads a process's parent and state, see proc(5).
func lookUp(pid int) (parent int, state byte) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// The second field is a name that may contain anything, in parentheses.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 2 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return parent, fields[0][0]
}
