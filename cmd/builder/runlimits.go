package main

import (
	"os"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

// readLimits reads what the container may use of the machine.
func (r *containerRequest) readLimits(c *cli.Context) (err error) {
	l := &r.Limits
	if *l, err = readLimitFlags(c); err != nil {
		return err
	}
	if text := c.String("memory-reservation"); text != "" {
		if l.MemoryReservation, err = units.RAMInBytes(text); err != nil || l.MemoryReservation < 0 {
			return usageError(c.Command.HelpName, "--memory-reservation %q is no size, such as 512m or 2g", text)
		}
		if l.Memory > 0 && l.MemoryReservation > l.Memory {
			return usageError(c.Command.HelpName, "Minimum memory limit can not be less than memory reservation limit")
		}
	}
	if n := c.Int64("pids-limit"); n > 0 { // docker's 0 and -1 are no limit
		l.PIDs = n
	}
	if l.IOWeight = c.Int64("blkio-weight"); l.IOWeight != 0 && (l.IOWeight < 10 || l.IOWeight > 1000) {
		return usageError(c.Command.HelpName, "range of blkio weight is from 10 to 1000")
	}
	if r.Sysctls, err = parseSysctls(c.StringSlice("sysctl")); err != nil {
		return err
	}
	r.OOMScoreAdj = c.Int("oom-score-adj")
	return checkOOMScore(r.OOMScoreAdj)
}

// checkOOMScore refuses what the kernel doesn't know, or keeps for root: to be
// killed later than others.
func checkOOMScore(score int) error {
	if score < -1000 || score > 1000 {
		return fault.New("write a number from -1000 to 1000", "Invalid value %d, range for oom score adj is [-1000, 1000]", score)
	}
	text, _ := os.ReadFile("/proc/self/oom_score_adj")
	if own, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && score < min(own, 0) {
		return fault.New("write a number from "+strconv.Itoa(own)+" on", "--oom-score-adj %d: only root makes the kernel spare a program", score)
	}
	return nil
}

// namespaced are the kernel's parameters that each ipc namespace has of its own,
// beside those that begin with fs.mqueue. and, of a network namespace, net.
var namespaced = map[string]bool{
	"kernel.msgmax": true, "kernel.msgmnb": true, "kernel.msgmni": true, "kernel.sem": true,
	"kernel.shmall": true, "kernel.shmmax": true, "kernel.shmmni": true, "kernel.shm_rmid_forced": true,
}

const networkSysctl = "net."

// parseSysctls reads NAME=VALUE of such parameters as a container has for itself.
func parseSysctls(options []string) (map[string]string, error) {
	if len(options) == 0 {
		return nil, nil
	}
	sysctls := map[string]string{}
	for _, option := range options {
		name, value, found := strings.Cut(option, "=")
		own := namespaced[name] || strings.HasPrefix(name, "fs.mqueue.") || strings.HasPrefix(name, networkSysctl)
		if !found || !own || strings.ContainsAny(name, "/ ") {
			return nil, fault.New("write NAME=VALUE of net., fs.mqueue. or System V ipc: man 5 proc", "sysctl '%s' is not allowed", option)
		}
		sysctls[name] = value
	}
	return sysctls, nil
}

// checkSysctls tells of parameters that would be the host's own.
func (r containerRequest) checkSysctls(mode network.Mode) error {
	for name := range r.Sysctls {
		if mode == network.ModeHost && strings.HasPrefix(name, networkSysctl) {
			return fault.New("leave it out, or use --network private", "sysctl '%s' not allowed in host network namespace", name)
		}
	}
	return nil
}
