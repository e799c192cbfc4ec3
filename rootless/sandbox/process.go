package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is what proc(5) tells of one in its file stat.
type process struct {
	parent  int
	state   byte
	exiting bool
	threads int
	born    string // in the kernel's words
}

// zombie is the state of a process that has ended and isn't waited for, or whose
// first thread has.
const zombie = 'Z'

// ended tells whether all its threads have.
func (p process) ended() bool { return p.state == zombie && p.threads <= 1 }

// lookUp fails where the process doesn't exist.
func lookUp(pid int) (process, error) { return readStat(fmt.Sprintf("/proc/%d/stat", pid)) }

func readStat(path string) (process, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	// The second field is a name that may contain anything, in parentheses.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fs.ErrInvalid
	}
	const exiting = 4 // PF_EXITING
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	threads, _ := strconv.Atoi(fields[17])
	parent, err := strconv.Atoi(fields[1])
	return process{parent, fields[0][0], flags&exiting != 0, threads, fields[19]}, err
}

// threadStates are the states of a process's threads. One that has gone meanwhile
// counts as running: it may have taken another's number, by executing a program.
func threadStates(pid int) (states []byte) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	for _, thread := range numbers(dir) {
		now, err := readStat(fmt.Sprintf("%s/%d/stat", dir, thread))
		if err != nil {
			now.state = 'R'
		}
		states = append(states, now.state)
	}
	return states
}

// parent gives a process's parent, 0 where it doesn't exist.
func parent(pid int) int {
	p, _ := lookUp(pid)
	return p.parent
}

// processes gives all that /proc shows, without order.
func processes() (pids []int) { return numbers("/proc") }

// numbers gives the names in a directory that are numbers.
func numbers(path string) (found []int) {
	dir, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1) // what was read before an error still counts
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			found = append(found, n)
		}
	}
	return found
}

// isNested tells whether a process, be it a zombie, is in a pid namespace below
// ours: it has a number in each.
func isNested(pid int) bool { return len(strings.Fields(status(pid, "NSpid"))) > 1 }

// isPending tells whether a process as a whole has a signal before it.
func isPending(pid int, sig unix.Signal) bool {
	pending, _ := strconv.ParseUint(status(pid, "ShdPnd"), 16, 64)
	return pending&(1<<(sig-1)) != 0
}

// status gives a value of a process's file status, "" where the process doesn't exist.
func status(pid int, name string) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
