package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/internal/fault"
)

// refusal is why options of docker's can't be had, and what to do in their place.
type refusal struct {
	options []string
	why     string
	remedy  string
}

// containerRefusals are docker's options of run and create that take a value, and
// can't be had.
var containerRefusals = []refusal{
	{
		strings.Fields("health-cmd health-interval health-retries health-start-interval health-start-period health-timeout"),
		"builder runs no health checks: there is no daemon that would look after a container",
		"ask it when you want to know: builder exec NAME COMMAND",
	},
	{
		strings.Fields("ip ip6 mac-address link-local-ip"),
		"a container's private network is its own, and has the addresses that pasta or slirp4netns gives it",
		"publish ports on an address of the host: -p ADDRESS:PORT:PORT",
	},
	{
		strings.Fields("network-alias net-alias link"),
		"there are no networks yet in which containers find each other by name",
		"let one share the other's network: --network container:NAME",
	},
	{
		[]string{"gpus"},
		"what makes a GPU ready inside a container only root may do",
		"show it the devices: --device /dev/dri/renderD128",
	},
	{
		[]string{"device-cgroup-rule"},
		"without root there is no device cgroup: a container may do with a device what the user may",
		"show it the device: --device /dev/NAME",
	},
	{
		strings.Fields("blkio-weight-device device-read-bps device-read-iops device-write-bps device-write-iops"),
		"limits of single disks are not supported",
		"give the container a weight for all of them: --blkio-weight 100",
	},
	{
		strings.Fields("cpu-rt-period cpu-rt-runtime"),
		"cgroup version 2 has no limits of real-time scheduling",
		"limit the processors: --cpus",
	},
	{
		[]string{"memory-swappiness"},
		"cgroup version 2 has no swappiness of a group",
		"limit the swap: --memory-swap",
	},
	{
		[]string{"storage-opt"},
		"a container has as much room as the user: quotas are for root to set",
		"limit what it may write to a directory: --tmpfs /PATH:size=64m",
	},
	{
		[]string{"annotation"},
		"an annotation can tell the OCI runtime to loosen what confines the container, and so none is passed on",
		"what tools are to read goes into a label: --label NAME=VALUE",
	},
	{
		[]string{"domainname"},
		"NIS domain names are not supported",
		"write it behind the host's name: --hostname NAME.DOMAIN",
	},
}

// containerSwitchRefusals are those that take no value.
var containerSwitchRefusals = []refusal{
	{[]string{"oom-kill-disable"}, "cgroup version 2 can't do without the out-of-memory killer", "leave it out, or raise --memory"},
	{[]string{"use-api-socket"}, "there is no daemon, and so no socket of one", "leave it out"},
}

// containerRefusedFlags are the options that can't be had, and say so.
func containerRefusedFlags() []cli.Flag {
	var flags []cli.Flag
	for _, r := range containerRefusals {
		for _, name := range r.options {
			flags = append(flags, &cli.StringSliceFlag{
				Name: name, Hidden: true, Category: flagdoc.Refused,
				Action: func(*cli.Context, []string) error { return r.of(name) },
			})
		}
	}
	for _, r := range containerSwitchRefusals {
		for _, name := range r.options {
			flags = append(flags, &cli.BoolFlag{
				Name: name, Hidden: true, Category: flagdoc.Refused,
				Action: func(_ *cli.Context, asked bool) error {
					if !asked {
						return nil
					}
					return r.of(name)
				},
			})
		}
	}
	return flags
}

func (r refusal) of(name string) error {
	return fault.New(r.remedy, "%s: %s", flagdoc.Dashed(name), r.why)
}

// containerChoices are choices of docker's, of namespaces above all, that there are
// none of. Asking for what a container has is granted.
var containerChoices = []struct {
	name, has string
	granted   []string
}{
	{"ipc", "an ipc namespace of its own", []string{"private", "shareable"}},
	{"pid", "a pid namespace of its own", []string{"private"}},
	{"uts", "a uts namespace of its own", []string{"private"}},
	{"cgroupns", "the machine's cgroup namespace, and none of its files", []string{"host"}},
}

// containerChoiceFlags take them.
func containerChoiceFlags() []cli.Flag {
	var flags []cli.Flag
	for _, ns := range containerChoices {
		flags = append(flags, &cli.StringFlag{
			Name: ns.name, Hidden: true, Usage: "`MODE`: " + ns.granted[0] + ", as a container has " + ns.has,
			Action: func(_ *cli.Context, mode string) error {
				if mode == "" || slices.Contains(ns.granted, mode) {
					return nil
				}
				return fault.New("leave it out", "--%s %s: a container has %s, and that can't be chosen", ns.name, mode, ns.has)
			},
		})
	}
	return flags
}
