package main

import (
	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
)

// limitFlags are docker's limits of memory and processors, of each RUN by itself or
// of a container. Those that are wanted most may be shown.
func limitFlags(of string, shown bool) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Hidden: !shown, Usage: "memory of " + of + ", a `SIZE` such as 2g"},
		&cli.StringFlag{Name: "memory-swap", Hidden: true, Usage: "memory and swap together, a `SIZE`, or -1"},
		&cli.Float64Flag{Name: "cpus", Hidden: !shown, Usage: "processors of " + of + ", a `NUMBER` such as 1.5"},
		&cli.Int64Flag{Name: "cpu-quota", Hidden: true, Usage: "time of processors in each period, `MICROSECONDS`"},
		&cli.Int64Flag{Name: "cpu-period", Hidden: true, Usage: "that period, `MICROSECONDS`"},
		&cli.Int64Flag{Name: "cpu-shares", Aliases: []string{"c"}, Hidden: true, Usage: "`WEIGHT` of " + of + " where processors are wanted, usually 1024"},
		&cli.StringFlag{Name: "cpuset-cpus", Hidden: true, Usage: "`LIST` of processors, such as 0-2,4"},
		&cli.StringFlag{Name: "cpuset-mems", Hidden: true, Usage: "`LIST` of memory nodes"},
		&cli.StringFlag{Name: "cgroup-parent", Hidden: true, Usage: "`PATH` of the cgroup in which " + of + " gets its own"},
	}
}

func readLimitFlags(c *cli.Context) (cgroup.Limits, error) {
	l := cgroup.Limits{
		CPUQuota: max(c.Int64("cpu-quota"), 0), CPUPeriod: c.Int64("cpu-period"), CPUShares: c.Int64("cpu-shares"),
		CPUs: c.String("cpuset-cpus"), Mems: c.String("cpuset-mems"), Parent: c.String("cgroup-parent"),
	}
	if err := readMemoryFlags(c, &l); err != nil {
		return l, err
	}
	for _, name := range []string{"cpu-quota", "cpu-period", "cpu-shares"} {
		// docker's -1 for no quota is the same as none.
		if n := c.Int64(name); n < 0 && (name != "cpu-quota" || n != -1) {
			return l, usageError(c.Command.HelpName, "--%s %d can't be negative", name, n)
		}
	}
	if !c.IsSet("cpus") {
		return l, nil
	}
	const period, least = 100_000, 1000 // microseconds; the kernel takes no quota below the latter
	l.CPUPeriod, l.CPUQuota = period, int64(c.Float64("cpus")*period)
	switch {
	case c.IsSet("cpu-quota") || c.IsSet("cpu-period"):
		return l, usageError(c.Command.HelpName, "--cpus is a quota and a period: it can't go with --cpu-quota or --cpu-period")
	case l.CPUQuota < least:
		return l, usageError(c.Command.HelpName, "--cpus %v is less than 0.01", c.Float64("cpus"))
	}
	return l, nil
}

// leastMemory is docker's: with less nothing starts.
const leastMemory = 6 << 20

func readMemoryFlags(c *cli.Context, l *cgroup.Limits) (err error) {
	if text := c.String("memory"); text != "" {
		if l.Memory, err = units.RAMInBytes(text); err != nil || l.Memory < leastMemory {
			return usageError(c.Command.HelpName, "--memory %q is no size from 6m on, such as 512m or 2g", text)
		}
	}
	text := c.String("memory-swap")
	if text == "" || text == "0" {
		return nil
	}
	if text == "-1" {
		l.MemorySwap = -1
		return nil
	}
	if l.MemorySwap, err = units.RAMInBytes(text); err != nil || l.MemorySwap < 0 {
		return usageError(c.Command.HelpName, "--memory-swap %q is no size, such as 2g, nor -1", text)
	}
	switch {
	case l.Memory == 0:
		return fault.New("add --memory", "--memory-swap %s is the sum of memory and swap, and nothing limits the memory", text)
	case l.MemorySwap < l.Memory:
		return fault.New("write the sum, or -1 for no limit of swap", "--memory-swap %s is the sum of memory and swap, and less than --memory", text)
	}
	return nil
}

// namespaceFlags are buildah's choices of namespaces, which a RUN hasn't: asking
// for what it has is granted.
func namespaceFlags() []cli.Flag {
	var flags []cli.Flag
	for _, ns := range []struct{ name, has, granted string }{
		{"ipc", "an ipc namespace of its own", "private"},
		{"pid", "a pid namespace of its own", "private"},
		{"uts", "a uts namespace of its own", "private"},
		{"userns", "builder's user namespace", "auto"},
		{"cgroupns", "the machine's cgroup namespace, and none of its files", "host"},
	} {
		flags = append(flags, &cli.StringFlag{
			Name: ns.name, Hidden: true, Usage: "`MODE`: " + ns.granted + ", as a RUN has " + ns.has,
			Action: func(_ *cli.Context, value string) error {
				if value == ns.granted || value == "container" && ns.granted == "private" {
					return nil
				}
				return fault.New("leave it out", "--%s %s: a RUN has %s, and that can't be chosen", ns.name, value, ns.has)
			},
		})
	}
	return flags
}
