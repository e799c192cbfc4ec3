package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// runFlags are those of run: create's, and what is about being attached.
func runFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running, and print its id"},
		&cli.StringFlag{Name: "detach-keys", Hidden: true, Usage: "leave it running at these `KEYS`, such as ctrl-p,ctrl-q"},
		&cli.BoolFlag{Name: "sig-proxy", Hidden: true, Value: true, Usage: "pass signals on to the program"},
	}, createFlags())
}

// createFlags are those of create: what a container is made with.
func createFlags() []cli.Flag {
	return slices.Concat(processFlags(), lifeFlags(), connectionFlags(), mountFlags(), confinementFlags(),
		limitFlags("the container"), containerLimitFlags(), registryFlags(), contentTrust(), unkeptFlags())
}

// processFlags say which program runs, and as what.
func processFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass the standard input on"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give it a terminal"},
		&cli.StringSliceFlag{Name: "attach", Aliases: []string{"a"}, Hidden: true, Usage: "attach to `STREAM` alone: stdin, stdout or stderr"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME[=VALUE]`, else as it is here"},
		&cli.StringSliceFlag{Name: "env-file", Usage: "set what stands in `FILE`, one NAME=VALUE a line"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
		&cli.StringSliceFlag{Name: "group-add", Hidden: true, Usage: "run in the `GROUP` as well"},
		&cli.StringFlag{Name: "entrypoint", Usage: "take `COMMAND` in place of the image's"},
		&cli.BoolFlag{Name: "init", Hidden: true, Usage: "start it by an init that reaps processes"},
	}
}

// lifeFlags say what a container is called, and how it begins and ends.
func lifeFlags() []cli.Flag {
	policy := pullMissing
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "call the container `NAME`"},
		&cli.BoolFlag{Name: "rm", Usage: "remove it when it ends"},
		&cli.StringFlag{Name: "restart", Usage: "`POLICY`: no, always, unless-stopped, on-failure[:TIMES]"},
		&cli.StringFlag{Name: "stop-signal", Hidden: true, Usage: "`SIGNAL` that ends it, in place of SIGTERM"},
		&cli.IntFlag{Name: "stop-timeout", Hidden: true, Usage: "`SECONDS` after which it is killed, -1 for never"},
		&cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "add a label `NAME[=VALUE]`"},
		&cli.StringSliceFlag{Name: "label-file", Hidden: true, Usage: "add what stands in `FILE`, one NAME=VALUE a line"},
		&cli.StringFlag{Name: "cidfile", Hidden: true, Usage: "write its id to `FILE`"},
		&cli.GenericFlag{Name: "pull", Value: &policy, Usage: "ask the registry: `WHEN` is always, missing or never"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Hidden: true, Usage: "say nothing of the pull"},
		&cli.StringFlag{Name: "platform", Usage: "the image for `OS/ARCH[/VARIANT]`, such as linux/arm64"},
		&cli.StringFlag{Name: "log-driver", Hidden: true, Usage: "keep the output by `NAME`: json-file or none"},
		&cli.StringSliceFlag{Name: "log-opt", Hidden: true, Usage: "`OPTION` of that: max-size=SIZE, max-file=NUMBER"},
		// docker's -h is the host's name, and so the library's -h can't be had.
		&cli.BoolFlag{Name: "help", Usage: "show this"},
	}
}

// connectionFlags are about the network.
func connectionFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringSliceFlag{Name: "publish", Aliases: []string{"p"}, Usage: "publish `[[IP:]HOSTPORT:]PORT`[/udp] on this host"},
		&cli.BoolFlag{Name: "publish-all", Aliases: []string{"P"}, Usage: "publish all ports that the image exposes"},
		&cli.StringSliceFlag{Name: "expose", Hidden: true, Usage: "expose `PORT`[-PORT][/udp] beside the image's"},
		&cli.StringFlag{Name: "hostname", Aliases: []string{"h"}, Usage: "`NAME` that it has for itself"},
	}, sandboxFlags())
}

// confinementFlags give a container more, or less, than it has by itself.
func confinementFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "privileged", Usage: "confine it by the user namespace alone"},
		&cli.BoolFlag{Name: "read-only", Usage: "let nobody write to its root file system"},
		&cli.StringSliceFlag{Name: "cap-add", Usage: "give the capability `NAME`, or all; --cap-drop takes"},
		&cli.StringSliceFlag{Name: "cap-drop", Hidden: true, Usage: "take the capability `NAME`, or all"},
		&cli.StringSliceFlag{Name: "security-opt", Hidden: true, Usage: "confine by `OPTION`, such as seccomp=FILE"},
		&cli.StringSliceFlag{Name: "device", Hidden: true, Usage: "give it the device `HOST[:PATH]`"},
		&cli.StringFlag{Name: "userns", Hidden: true, Usage: "`MODE`: keep-id gives it the user's own id"},
	}
}

// containerLimitFlags are limits that a build has not.
func containerLimitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Int64Flag{Name: "pids-limit", Hidden: true, Usage: "at most `NUMBER` processes, -1 for no limit"},
	}
}

// unkeptFlags are docker's that builder doesn't know.
func unkeptFlags() []cli.Flag {
	return slices.Concat(
		laterBools("no-healthcheck", "oom-kill-disable"),
		later("ipc", "pid", "uts", "cgroupns", "network-alias", "link", "ip", "mac-address", "gpus", "sysctl", "health-cmd"))
}
