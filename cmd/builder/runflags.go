package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
)

// runFlags are those of run: create's, and what is about being attached.
func runFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running, and print its id"},
		detachKeysFlag(),
		&cli.BoolFlag{Name: "sig-proxy", Hidden: true, Value: true, Usage: "pass signals on to the program"},
	}, createFlags())
}

// createFlags are those of create: what a container is made with.
func createFlags() []cli.Flag {
	return slices.Concat(processFlags(), lifeFlags(), connectionFlags(), mountFlags(), confinementFlags(),
		limitFlags("the container", true), containerLimitFlags(), imageFlags(), containerChoiceFlags(), containerRefusedFlags())
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
		&cli.BoolFlag{Name: "init", Hidden: true, Usage: "start it by an init, which reaps processes and passes signals on"},
	}
}

// lifeFlags say what a container is called, and how it begins and ends.
func lifeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "call the container `NAME`"},
		&cli.BoolFlag{Name: "rm", Usage: "remove it when it ends, and its anonymous volumes"},
		&cli.StringFlag{Name: "restart", Usage: "restart by `POLICY`: always, unless-stopped or on-failure (:TIMES)"},
		&cli.StringFlag{Name: "stop-signal", Hidden: true, Usage: "`SIGNAL` that asks it to end, in place of SIGTERM"},
		&cli.IntFlag{Name: "stop-timeout", Hidden: true, Usage: "`SECONDS` after which it is killed then, -1 for never"},
		&cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "add a label `NAME[=VALUE]`"},
		&cli.StringSliceFlag{Name: "label-file", Hidden: true, Usage: "add what stands in `FILE`, one NAME=VALUE a line"},
		&cli.StringFlag{Name: "cidfile", Hidden: true, Usage: "write its id to `FILE`"},
		&cli.StringFlag{Name: "log-driver", Hidden: true, Usage: "keep the output by `NAME`: json-file or none"},
		&cli.StringSliceFlag{Name: "log-opt", Hidden: true, Usage: "`OPTION` of that: max-size=SIZE, max-file=NUMBER"},
		&cli.BoolFlag{Name: "no-healthcheck", Hidden: true, Usage: "keep no health check of the image's; builder runs none anyway"},
	}
}

// imageFlags say which image it is, and how it is fetched.
func imageFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "pull", Usage: "`WHEN` to ask the registry for the image: always, missing or never"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Hidden: true, Usage: "say nothing of the pull"},
		&cli.StringFlag{Name: "platform", Hidden: true, Usage: "the image for `OS/ARCH[/VARIANT]`, such as linux/arm64"},
	}, registryFlags(), contentTrust(), []cli.Flag{
		// docker's -h is the host's name, and so the library's -h can't be had.
		&cli.BoolFlag{Name: "help", Usage: "show this"},
	})
}

// connectionFlags are about the network.
func connectionFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringSliceFlag{Name: "publish", Aliases: []string{"p"}, Usage: "publish `[[IP:]HOSTPORT:]PORT`[/udp] on this host"},
		&cli.BoolFlag{Name: "publish-all", Aliases: []string{"P"}, Usage: "publish all ports that are exposed"},
		&cli.StringSliceFlag{Name: "expose", Hidden: true, Usage: "expose `PORT`[-PORT][/udp] beside the image's"},
		&cli.StringFlag{Name: "hostname", Aliases: []string{"h"}, Usage: "`NAME` that it has for itself"},
	}, sandboxFlags("private, host, none, container:NAME; by"))
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
		&cli.StringFlag{Name: "userns", Hidden: true, Usage: "`MODE`: keep-id gives the user his own id inside"},
		&cli.StringSliceFlag{Name: "sysctl", Hidden: true, Usage: "set the kernel's parameter `NAME=VALUE` for it"},
	}
}

// containerLimitFlags are limits that a build has not.
func containerLimitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "memory-reservation", Hidden: true, Usage: "memory that it keeps where others want it, a `SIZE`"},
		&cli.Int64Flag{Name: "pids-limit", Hidden: true, Usage: "at most `NUMBER` processes, -1 for no limit"},
		&cli.Int64Flag{Name: "blkio-weight", Hidden: true, Usage: "`WEIGHT` where disks are wanted, from 10 to 1000"},
		&cli.IntFlag{Name: "oom-score-adj", Hidden: true, Usage: "be killed the sooner when memory lacks, the higher the `NUMBER`"},
		&cli.StringFlag{Name: "kernel-memory", Hidden: true, Category: flagdoc.Ignored},
	}
}
