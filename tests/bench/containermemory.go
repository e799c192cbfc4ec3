package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// observeMonitors adds the most memory that the monitor of one of the containers
// has, and the most that it has together with the network's helper, when all have
// settled: a monitor gives back what the start took soon after that.
func (s *store) observeMonitors(names []string, monitors, each *figure) error {
	pids, err := s.monitors(names)
	if err != nil {
		return err
	}
	alone, together, err := settled(pids)
	if err != nil {
		return err
	}
	monitors.add(s.column, alone)
	each.add(s.column, together)
	return nil
}

// monitors gives the monitor's process of each container: the parent of its program.
func (s *store) monitors(names []string) ([]int, error) {
	out, err := s.command(append([]string{"inspect", "--format", "{{.State.Pid}}"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	var monitors []int
	for _, word := range strings.Fields(string(out)) {
		status, err := os.ReadFile("/proc/" + word + "/status")
		if err != nil {
			return nil, err
		}
		monitor, err := statusField(string(status), "PPid:")
		if err != nil {
			return nil, err
		}
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", monitor))
		if err != nil || filepath.Base(exe) != filepath.Base(s.tool) {
			return nil, fmt.Errorf("process %d is no monitor: %w: %s", monitor, err, exe)
		}
		monitors = append(monitors, monitor)
	}
	return monitors, nil
}

// settled waits until the memory of processes hasn't changed for a second, and
// gives the most that one has, alone and with its network helper, in bytes.
func settled(pids []int) (alone, together float64, err error) {
	const calm, step = time.Second, 50 * time.Millisecond
	changed := time.Now()
	for deadline := changed.Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(step) {
		a, t, err := most(pids)
		if err != nil {
			return 0, 0, err
		}
		if a != alone || t != together {
			alone, together, changed = a, t, time.Now()
		}
		if time.Since(changed) >= calm {
			return alone, together, nil
		}
	}
	return 0, 0, fmt.Errorf("the memory of %d monitors doesn't settle: %.0f MiB", len(pids), alone/(1<<20))
}

func most(pids []int) (alone, together float64, err error) {
	for _, pid := range pids {
		own, err := residentOf(pid)
		if err != nil {
			return 0, 0, err
		}
		helpers, err := helpersOf(pid)
		if err != nil {
			return 0, 0, err
		}
		alone, together = max(alone, own), max(together, own+helpers)
	}
	return alone, together, nil
}

// helpersOf gives the memory of a monitor's children that are neither the file
// system nor the program.
func helpersOf(monitor int) (sum float64, err error) {
	for _, child := range childrenOf(monitor) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child))
		if err != nil {
			return 0, err
		}
		if name := filepath.Base(exe); name == "fuse-overlayfs" || name == "busybox" {
			continue
		}
		its, err := residentOf(child)
		if err != nil {
			return 0, err
		}
		sum += its
	}
	return sum, nil
}

// residentOf gives the resident size of a process in bytes.
func residentOf(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kib, err := statusField(string(status), "VmRSS:")
	return float64(kib) * 1024, err
}

// statusField reads a number of /proc/PID/status.
func statusField(status, name string) (value int, err error) {
	_, rest, _ := strings.Cut(status, name)
	if _, err := fmt.Sscan(rest, &value); err != nil {
		return 0, fmt.Errorf("%s of a process: %w", name, err)
	}
	return value, nil
}
