package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// samples are measurements of one thing: seconds, bytes or factors.
type samples []float64

func (s samples) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(s)/2]
}

// format gives the median in a unit (ms, s, MiB, or a factor), and how many
// there were where fewer than five.
func (s samples) format(unit string) string {
	if len(s) == 0 {
		return ""
	}
	m := s.median()
	var text string
	switch {
	case unit == "ms" && m >= 10:
		text = fmt.Sprintf("%.0f ms", m*1000)
	case unit == "ms":
		text = fmt.Sprintf("%.0f ms", m*1000)
	case unit == "MiB":
		text = fmt.Sprintf("%.0f MiB", m/(1<<20))
	default:
		text = fmt.Sprintf("%.2f s", m)
	}
	if len(s) < 5 && unit != "MiB" {
		text += fmt.Sprintf(" (n=%d)", len(s))
	}
	return text
}

// timed says how long a command takes from its start to its end.
func timed(cmd *exec.Cmd) (float64, error) {
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return time.Since(start).Seconds(), nil
}

// between runs a command and gives the time from the line of its output that
// begins with from to the one that begins with to, or to its end where to is
// empty.
func between(cmd *exec.Cmd, from, to string) (float64, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var start, end time.Time
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, from):
			start = time.Now()
		case to != "" && end.IsZero() && strings.HasPrefix(line, to):
			end = time.Now()
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", cmd, err, &stderr)
	}
	if to == "" {
		end = time.Now()
	}
	if start.IsZero() || end.IsZero() {
		return 0, fmt.Errorf("%s: no line %q, or none %q behind it", cmd, from, to)
	}
	return end.Sub(start).Seconds(), nil
}

// peak runs a command and gives the sum of the peak resident sizes of those of
// its processes that run the same program, in bytes. The kernel keeps the
// peaks, so that only a process that lives between two looks is missed.
func peak(cmd *exec.Cmd) (float64, error) {
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan struct{})
	highest := map[int]int{}
	var looks sync.WaitGroup
	looks.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				lookAt(cmd.Process.Pid, filepath.Base(cmd.Path), highest)
			}
		}
	})
	err := cmd.Wait()
	close(done)
	looks.Wait()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", cmd, err)
	}
	sum := 0
	for _, kib := range highest {
		sum += kib
	}
	return float64(sum) * 1024, nil
}

// lookAt notes the peaks of a process and its descendants that run program.
func lookAt(pid int, program string, highest map[int]int) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	if exe, err := os.Readlink(proc + "exe"); err == nil && filepath.Base(exe) == program {
		if kib := peakOf(proc + "status"); kib > highest[pid] {
			highest[pid] = kib
		}
	}
	tasks, _ := filepath.Glob(proc + "task/*/children")
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				lookAt(child, program, highest)
			}
		}
	}
}

func peakOf(status string) (kib int) {
	data, _ := os.ReadFile(status)
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	_, _ = fmt.Sscan(rest, &kib)
	return kib
}
