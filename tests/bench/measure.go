package main

import (
	"bufio"
	"bytes"
	"errors"
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
	switch unit {
	case "ms":
		text = fmt.Sprintf("%.0f ms", m*1000)
	case "MiB/s":
		text = fmt.Sprintf("%.0f MiB/s", m/(1<<20))
	case "MiB":
		text = fmt.Sprintf("%.0f MiB", m/(1<<20))
	default:
		text = fmt.Sprintf("%.2f s", m)
	}
	if len(s) < 5 && unit != "MiB" {
		text += fmt.Sprintf(" (n=%d)", len(s))
	}
	return text
}

// timed says how long commands take, one after the other, from the start of the
// first to the end of the last.
func timed(cmds ...*exec.Cmd) (float64, error) {
	start := time.Now()
	for _, cmd := range cmds {
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
	}
	return time.Since(start).Seconds(), nil
}

// after runs a command and gives the times from the line of its output that is
// from to the one that is to, and to the command's end.
func after(cmd *exec.Cmd, from, to string) (line, end float64, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	var said, heard time.Time
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch lines.Text() {
		case from:
			said = time.Now()
		case to:
			heard = time.Now()
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", cmd, err, &stderr)
	}
	if said.IsZero() || heard.IsZero() {
		return 0, 0, fmt.Errorf("%s: no line %q, or none %q behind it", cmd, from, to)
	}
	return heard.Sub(said).Seconds(), time.Since(said).Seconds(), nil
}

// peak runs a command and gives the peak of its memory, as watch does.
func peak(cmd *exec.Cmd) (float64, error) {
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	wait, err := watch(cmd)
	if err != nil {
		return 0, err
	}
	return wait()
}

// pipe is what is known of two commands, the first of which writes to the second.
type pipe struct {
	took  float64
	peaks [2]float64
}

func piped(from, to *exec.Cmd) (pipe, error) {
	var p pipe
	var said [2]bytes.Buffer
	from.Stderr, to.Stderr = &said[0], &said[1]
	r, w, err := os.Pipe()
	if err != nil {
		return p, err
	}
	from.Stdout, to.Stdin = w, r
	start := time.Now()
	waitFrom, err := watch(from)
	if err != nil {
		return p, err
	}
	waitTo, err := watch(to)
	if err := errors.Join(err, w.Close(), r.Close()); err != nil {
		return p, err
	}
	var errFrom, errTo error
	p.peaks[0], errFrom = waitFrom()
	p.peaks[1], errTo = waitTo()
	p.took = time.Since(start).Seconds()
	if err := errors.Join(errFrom, errTo); err != nil {
		return p, fmt.Errorf("%w\n%s%s", err, &said[0], &said[1])
	}
	return p, nil
}

// watch starts a command. The function that it gives waits for its end, and gives
// the sum of the peak resident sizes of those of its processes that run the same
// program, in bytes. The kernel keeps the peaks, so that a look every few
// milliseconds is enough. What only one look sees is left out: a child that hasn't
// executed its own program yet has its parent's memory and name.
func watch(cmd *exec.Cmd) (func() (float64, error), error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	seen := map[int]resident{}
	var looks sync.WaitGroup
	looks.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				lookAt(cmd.Process.Pid, filepath.Base(cmd.Path), seen)
			}
		}
	})
	return func() (float64, error) {
		err := cmd.Wait()
		close(done)
		looks.Wait()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", cmd, err)
		}
		sum := 0
		for _, r := range seen {
			if r.looks > 1 {
				sum += r.peak
			}
		}
		return float64(sum) * 1024, nil
	}, nil
}

// resident is what is known of a process: its peak in KiB, and how often it
// was seen to run the program in question.
type resident struct{ peak, looks int }

// lookAt notes the peaks of a process and its descendants that run program.
func lookAt(pid int, program string, seen map[int]resident) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	if exe, err := os.Readlink(proc + "exe"); err == nil && filepath.Base(exe) == program {
		r := seen[pid]
		seen[pid] = resident{max(r.peak, peakOf(proc+"status")), r.looks + 1}
	} else if err == nil {
		delete(seen, pid) // it has become something else
	}
	for _, child := range childrenOf(pid) {
		lookAt(child, program, seen)
	}
}

// childrenOf gives the processes that any thread of a process has started.
func childrenOf(pid int) (children []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

func peakOf(status string) (kib int) {
	data, _ := os.ReadFile(status)
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	_, _ = fmt.Sscan(rest, &kib)
	return kib
}
