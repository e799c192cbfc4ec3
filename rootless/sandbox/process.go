package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// process is what proc(5) tells of one in its file stat.
type process struct {
	parent  int
	state   byte
	exiting bool
	born    string // in the kernel's words
}

// zombie is the state of a process that has ended and isn't waited for.
const zombie = 'Z'

// lookUp fails where the process doesn't exist.
func lookUp(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
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
	parent, err := strconv.Atoi(fields[1])
	return process{parent, fields[0][0], flags&exiting != 0, fields[19]}, err
}

// parent gives a process's parent, 0 where it doesn't exist.
func parent(pid int) int {
	p, _ := lookUp(pid)
	return p.parent
}

// processes gives all that /proc shows, without order.
func processes() (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1) // what was read before an error still counts
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isNested tells whether a process, be it a zombie, is in a pid namespace below
// ours: it has a number in each.
func isNested(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(numbers)) > 1
		}
	}
	return false
}
