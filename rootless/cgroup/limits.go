package cgroup

import (
	"slices"
	"strconv"
)

// Limits are what a program may use. Zero values are no limits.
type Limits struct {
	Memory int64 `json:"memory,omitempty"` // bytes
	// MemorySwap is the sum of memory and swap in bytes, -1 for no limit of swap.
	// Without it a program may have as much swap as memory.
	MemorySwap int64 `json:"memory_swap,omitempty"`
	// MemoryReservation is what it keeps, in bytes, as long as others can give.
	MemoryReservation int64 `json:"memory_reservation,omitempty"`
	// CPUQuota of each CPUPeriod, both in microseconds, is the processors' time.
	CPUQuota  int64 `json:"cpu_quota,omitempty"`
	CPUPeriod int64 `json:"cpu_period,omitempty"`
	// CPUShares is the weight among others, as cgroup version 1 counted it: 1024
	// is the usual one.
	CPUShares int64 `json:"cpu_shares,omitempty"`
	// CPUs and Mems are lists of processors and of memory nodes, such as "0-2,4".
	CPUs string `json:"cpus,omitempty"`
	Mems string `json:"mems,omitempty"`
	// PIDs is how many processes and threads there may be.
	PIDs int64 `json:"pids,omitempty"`
	// IOWeight is the weight among others where disks are wanted, from 10 to 1000
	// as cgroup version 1 counted it: 500 is the usual one.
	IOWeight int64 `json:"io_weight,omitempty"`
	// Parent is the path of the cgroup that the program's is made in.
	Parent string `json:"parent,omitempty"`
}

// defaultPeriod is the kernel's own, in microseconds.
const defaultPeriod = 100_000

// setting is what a file of a group is set to.
type setting struct {
	controller, file, value string
	// optional is what a kernel without it does well without.
	optional bool
}

// settings are the limits in the kernel's words: cgroup-v2(7) of its
// documentation.
func (l Limits) settings() (list []setting) {
	add := func(controller, file, value string, optional bool) {
		list = append(list, setting{controller, file, value, optional})
	}
	if l.Memory > 0 {
		add("memory", "memory.max", strconv.FormatInt(l.Memory, 10), false)
	}
	switch {
	case l.MemorySwap < 0:
		add("memory", "memory.swap.max", "max", true)
	case l.MemorySwap > 0:
		add("memory", "memory.swap.max", strconv.FormatInt(l.MemorySwap-l.Memory, 10), false)
	case l.Memory > 0:
		add("memory", "memory.swap.max", strconv.FormatInt(l.Memory, 10), true)
	}
	if l.MemoryReservation > 0 {
		add("memory", "memory.low", strconv.FormatInt(l.MemoryReservation, 10), false)
	}
	if l.CPUQuota > 0 || l.CPUPeriod > 0 {
		add("cpu", "cpu.max", l.cpuMax(), false)
	}
	if l.CPUShares > 0 {
		add("cpu", "cpu.weight", strconv.FormatInt(weight(l.CPUShares), 10), false)
	}
	if l.PIDs > 0 {
		add("pids", "pids.max", strconv.FormatInt(l.PIDs, 10), false)
	}
	if l.CPUs != "" {
		add("cpuset", "cpuset.cpus", l.CPUs, false)
	}
	if l.Mems != "" {
		add("cpuset", "cpuset.mems", l.Mems, false)
	}
	if l.IOWeight > 0 {
		add("io", "io.weight", "default "+strconv.FormatInt(ioWeight(l.IOWeight), 10), false)
	}
	return list
}

func (l Limits) cpuMax() string {
	quota, period := "max", l.CPUPeriod
	if l.CPUQuota > 0 {
		quota = strconv.FormatInt(l.CPUQuota, 10)
	}
	if period == 0 {
		period = defaultPeriod
	}
	return quota + " " + strconv.FormatInt(period, 10)
}

// weight turns shares, from 2 to 262144, into a weight from 1 to 10000, as the
// runtimes do.
func weight(shares int64) int64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}

// ioWeight turns a weight from 10 to 1000 into one from 1 to 10000, as the
// runtimes do.
func ioWeight(old int64) int64 { return 1 + (old-10)*9999/990 }

// controllers are those that the limits need.
func (l Limits) controllers() (names []string) {
	for _, s := range l.settings() {
		if !slices.Contains(names, s.controller) {
			names = append(names, s.controller)
		}
	}
	return names
}
