package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// serveProcesses tells the numbers of the container's processes, as the monitor
// sees them.
func (m *Monitor) serveProcesses(c *conn) error {
	p, done, err := m.use()
	if err != nil {
		return err
	}
	pids := p.PIDs()
	done()
	return c.send(kindDone, pids)
}

// Processes gives the numbers of the container's processes, as this process sees
// them.
func (c *Client) Processes() ([]int, error) {
	if err := c.conn.send(kindProcesses, nil); err != nil {
		return nil, c.lost(err)
	}
	answer, err := c.conn.receive()
	if err != nil {
		return nil, c.lost(err)
	}
	answer.close()
	if err := answer.failure(); err != nil {
		return nil, err
	}
	var theirs []int
	if err := answer.decode(&theirs); err != nil {
		return nil, err
	}
	monitor, err := c.PID()
	if err != nil {
		return nil, err
	}
	return ownNumbers(monitor, theirs)
}

// ownNumbers translates the numbers that processes have for a monitor to those that
// they have here. Those that have ended are left out.
func ownNumbers(monitor int, theirs []int) ([]int, error) {
	level := len(numbers(monitor))
	if level == 0 {
		return nil, fmt.Errorf("the monitor, process %d: %w", monitor, unix.ESRCH)
	}
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	all := map[int][]int{} // the numbers of each process, outermost namespace first
	parents := map[int]int{}
	for _, status := range statuses {
		pid, _ := strconv.Atoi(strings.Split(status, "/")[2])
		all[pid], parents[pid] = numbers(pid), parentOf(pid)
	}
	var ours []int
	for pid, own := range all {
		if len(own) < level || !slices.Contains(theirs, own[level-1]) {
			continue
		}
		// Elsewhere others have the same numbers.
		above := pid
		for above > 0 && above != monitor {
			above = parents[above]
		}
		if above == monitor {
			ours = append(ours, pid)
		}
	}
	slices.Sort(ours)
	return ours, nil
}

// numbers are those that a process has in the pid namespaces from ours to its own,
// see proc_pid_status(5); nil where it has ended.
func numbers(pid int) []int {
	var list []int
	for _, word := range strings.Fields(statusLine(pid, "NSpid:")) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil
		}
		list = append(list, n)
	}
	return list
}

func parentOf(pid int) int {
	n, _ := strconv.Atoi(strings.TrimSpace(statusLine(pid, "PPid:")))
	return n
}

func statusLine(pid int, name string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return rest
		}
	}
	return ""
}
