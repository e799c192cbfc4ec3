package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Category:  categoryBuild,
		Usage:     "Run a command in a new container",
		ArgsUsage: "IMAGE [COMMAND [ARGUMENT...]]",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "rm", Usage: "leave nothing of the container; needed as yet"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass the standard input on"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME[=VALUE]`, else as it is here"},
			&cli.StringSliceFlag{Name: "env-file", Usage: "set what stands in `FILE`, one NAME=VALUE a line"},
			&cli.StringSliceFlag{Name: "publish", Aliases: []string{"p"}, Usage: "publish `[[IP:]HOSTPORT:]PORT`[/udp] on this host"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
			&cli.StringFlag{Name: "entrypoint", Usage: "take `COMMAND` in place of the image's"},
			&cli.StringFlag{Name: "name", Usage: "call the container `NAME`"},
			&cli.StringFlag{Name: "hostname", Aliases: []string{"h"}, Usage: "`NAME` that it has for itself"},
			// docker's -h is the host's name, and so the library's -h can't be had.
			&cli.BoolFlag{Name: "help", Usage: "show this"},
		}, sandboxFlags(), registryFlags(), contentTrust(),
			laterBools("detach", "d", "tty", "t", "publish-all", "P", "privileged", "read-only", "init", "no-healthcheck", "oom-kill-disable"),
			later("volume", "v", "mount", "tmpfs", "volumes-from", "cap-add", "cap-drop", "security-opt", "restart",
				"stop-signal", "stop-timeout", "memory", "m", "memory-swap", "cpus", "cpu-shares", "c", "cpuset-cpus",
				"pids-limit", "label", "l", "label-file", "cidfile", "pull", "platform", "log-driver", "log-opt", "attach",
				"a", "detach-keys", "sig-proxy", "device", "group-add", "userns", "ipc", "pid", "uts", "cgroupns", "cgroup-parent",
				"network-alias", "expose", "link", "ip", "mac-address", "gpus", "sysctl", "health-cmd")),
		HideHelp: true,
		Action:   runImage,
	}
}

// runImage runs a container in the foreground. The image is seen to outside the
// user namespace; the process inside becomes the container's monitor.
func runImage(c *cli.Context) error {
	o, err := readContainerOptions(c)
	if err != nil {
		return err
	}
	if !o.remove {
		// There is no ps and no rm for what it would leave.
		return fault.New("add --rm, and nothing is left of the container when it ends", "run without --rm is not supported yet")
	}
	if userns.Inside() {
		return monitor(c, o)
	}
	mapping, err := userns.Detect()
	if err != nil {
		return err
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	img, err := presentImage(c, store, o.image)
	env := storeEnv(store)
	switch {
	case err == nil:
		env = append(env, broughtEnv(img))
	case errors.Is(err, build.ErrNamespace):
		err = nil // it is made inside
	}
	if err := errors.Join(err, store.Sweep(c.Context, false), store.Close()); err != nil {
		return err
	}
	notice(c.App.ErrWriter, mapping)
	return enter(c, nil, env...)
}

// containersDir is where containers have their directories.
func containersDir(store *storage.Store) string { return store.Dir("containers") }

// presentImage finds an image, or pulls it, telling so where it doesn't mix
// with the program's output.
func presentImage(c *cli.Context, store *storage.Store, ref string) (layout.Image, error) {
	img, err := imageAnywhere(c, store, ref, false)
	if err == nil || !errors.Is(err, layout.ErrUnknown) || isElsewhere(ref) {
		return img, err
	}
	name, nameErr := layout.ParseName(ref)
	if nameErr != nil {
		return img, nameErr
	}
	if _, err := fmt.Fprintf(c.App.ErrWriter, "Unable to find image '%s' locally\n", layout.Familiar(name)); err != nil {
		return img, err
	}
	return pullImage(c.Context, c, store, name, "", (&plainDisplay{out: c.App.ErrWriter, notes: c.App.ErrWriter}).transfer)
}

// monitor runs the container, and ends with its exit code.
func monitor(c *cli.Context, o containerOptions) (err error) {
	h, err := openHost(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	img, config, tree, err := h.leasedImage(c, o.image)
	if err != nil {
		return err
	}
	active, rootfs, err := h.snapshots.View(c.Context, tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, active.Discard()) }()
	cfg, err := o.config(img, config.Config, active.Parent())
	if err != nil {
		return err
	}
	cfg.Layer = active.Place()
	if err := makeWorkdir(rootfs, cfg.Spec.Cwd); err != nil {
		return err
	}
	if o.lesser != nil {
		tell(c.App.ErrWriter, o.lesser)
	}
	ns, err := h.connect(c.Context, o, &cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	tellPorts(c.App.ErrWriter, o.ports, cfg.Ports)
	// Signals are for the program from here on: they don't end the context.
	streams := o.streams()
	var stop func()
	streams.Signals, stop = container.Catch()
	defer stop()
	if err := context.Cause(c.Context); err != nil {
		return err
	}
	return asExit(container.Run(context.WithoutCancel(c.Context), containersDir(h.store), cfg, h.sandbox, rootfs, streams))
}

// leasedImage finds or pulls an image, sees that its tree is there, and keeps that
// while the container lives: what removals and prunings set free beside it
// shouldn't wait for its end.
func (h *host) leasedImage(c *cli.Context, ref string) (img layout.Image, config *layout.ImageConfig, tree snapshot.Key, err error) {
	if err := h.store.BeginLeases(); err != nil {
		return img, nil, "", err
	}
	err = h.store.WithBlobs(c.Context, func() error {
		if img, err = broughtImage(c, h.store, ref); err != nil {
			return err
		}
		if config, tree, err = h.unpack(c.Context, img); err != nil {
			return err
		}
		return h.store.Lease(c.Context, tree)
	})
	return img, config, tree, err
}

// asExit lets builder end as a program in a sandbox did.
func asExit(exit sandbox.Exit, err error) error {
	switch {
	case err != nil:
		return err
	case exit.OOM != nil:
		return outOfMemory(exit)
	case exit.Code != 0:
		return exitStatus(exit.Code)
	}
	return nil
}

// tellPorts tells which ports of the host were chosen where the user named none.
func tellPorts(w io.Writer, asked, given []network.Port) {
	for _, port := range given {
		if slices.ContainsFunc(asked, func(a network.Port) bool { return a.Open() && a.Container() == port.Container() }) {
			_, _ = fmt.Fprintf(w, "%s: publishing %s\n", programName, port)
		}
	}
}

// outOfMemory tells as much as the cgroup does.
func outOfMemory(exit sandbox.Exit) error {
	limit := ""
	if exit.OOM.Limit > 0 {
		limit = ", whose limit is " + format.Size(exit.OOM.Limit)
	}
	return &fault.Error{
		Err:    fmt.Errorf("the program was ended by the kernel's out-of-memory killer in cgroup %s%s", exit.OOM.Cgroup, limit),
		Remedy: "give it more memory, or let it use less",
		Code:   exit.Code,
	}
}

// streams are the program's: the standard input only where it was asked for.
func (o containerOptions) streams() container.Streams {
	s := container.Streams{Out: os.Stdout, Err: os.Stderr}
	if o.interactive {
		s.In = os.Stdin
	}
	return s
}

// connect gives the container its network. The result may be closed even where
// there is nothing to close.
func (h *host) connect(ctx context.Context, o containerOptions, cfg *container.Config) (closer, error) {
	spec := &cfg.Spec
	session, err := h.store.Session()
	if err != nil {
		return closer{}, err
	}
	if spec.StateDir, err = session.TempDir(); err != nil {
		return closer{}, err
	}
	var n network.Network
	var done closer
	switch spec.Network {
	case network.ModePrivate:
		ns, err := network.Create(ctx, h.store.RunDir(), o.network.Helper, o.dns, o.ports)
		if err != nil {
			return closer{}, err
		}
		done, n, cfg.Ports = closer{ns.Close}, ns.Network(), ns.Ports
	case network.ModeNone:
		n = network.ForNone()
	default:
		n = network.ForHost(o.dns)
	}
	spec.NetNS = n.NSPath
	if spec.ResolvConf = n.Resolv; n.Resolv == nil {
		spec.ResolvConf = []byte{}
	}
	spec.Hosts = sandbox.HostsFile(spec.Hostname, n.HostsIP, o.addHosts)
	return done, nil
}

// closer closes something, or nothing.
type closer struct{ close func() error }

// Close may be called once.
func (c closer) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}
