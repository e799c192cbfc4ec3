package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/container"
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
		Flags:     runFlags(),
		HideHelp:  true,
		Action:    runImage,
	}
}

// runImage makes a container and runs its program: with the user attached to it,
// or by itself.
func runImage(c *cli.Context) (err error) {
	r, err := readRequest(c)
	if err != nil {
		return err
	}
	if r.Terminal && r.AttachedStdin {
		if err := needTerminal(os.Stdin); err != nil {
			return err
		}
	}
	ids, err := newIDFile(r.CIDFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	env, err := bringImage(c, &r)
	if err != nil {
		return err
	}
	at, err := findPlace(c, r.Network, r.KeepID, r.Limits)
	if err != nil {
		return err
	}
	defer at.close()
	at.label = cmp.Or(r.Name, r.Image)
	client, err := startMonitor(c, env, at)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	a, err := newAttached(r.wishes())
	if err != nil {
		return err
	}
	id, err := a.beginUnlessStopped(c.Context, client, monitorRequest{New: &r, Start: true, Shares: at.network != nil})
	if err := errors.Join(err, ids.write(id)); err != nil {
		return err
	}
	if !r.AttachedStdout && !r.AttachedStderr {
		noteLogout(c)
		_, err := fmt.Fprintln(c.App.Writer, id)
		if err == nil && r.AttachedStdin {
			a.pass()
		}
		return err
	}
	return a.followUnlessLeft(c, client)
}

// bringImage sees to it that the image is there, and gives what a monitor is told
// of it and the store.
func bringImage(c *cli.Context, r *containerRequest) (env []string, err error) {
	store, err := openStore(c)
	if err != nil {
		return nil, err
	}
	if err := r.share(store); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	img, err := r.presentImage(c, store)
	env = storeEnv(store)
	switch {
	case err == nil:
		env = append(env, broughtEnv(img))
	case errors.Is(err, build.ErrNamespace):
		err = nil // it is made inside
	}
	return env, errors.Join(err, store.Sweep(c.Context, false), store.Close())
}

// startMonitor starts a monitor, which waits for what it is asked to do.
func startMonitor(c *cli.Context, env []string, at place) (*container.Client, error) {
	if _, err := cgroup.Claim(c.Context, at.limits); err != nil {
		return nil, err
	}
	client, theirs, err := container.NewMonitor()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	args := []string{programName}
	for _, flag := range []string{flagDriver, flagRuntime, flagIsolation, flagLogLevel} {
		if c.IsSet(flag) {
			args = append(args, "--"+flag, c.String(flag))
		}
	}
	o := at.options(c)
	o.Args, o.Env, o.Files = append(args, "monitor", at.label), env, []*os.File{theirs}
	if at.network != nil {
		o.Files = append(o.Files, at.network)
	}
	if err := userns.Start(c.Context, o); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// noteLogout says that a container with limits which runs by itself won't outlive
// the user's session.
func noteLogout(c *cli.Context) {
	if cgroup.EndsAtLogout() {
		tell(c.App.ErrWriter, fault.New("sudo loginctl enable-linger $(id -un)    # lets it go on",
			"the container will end when you log out: its limits are held by a systemd of yours, which ends then"))
	}
}

// containersDir is where containers have their directories.
func containersDir(store *storage.Store) string { return storage.ContainersDir(store.Root()) }

// leasedImage finds or pulls an image, sees that its tree is there, and keeps that
// while the container lives: what removals and prunings set free beside it
// shouldn't wait for its end.
func (h *host) leasedImage(c *cli.Context, r containerRequest) (img layout.Image, config *layout.ImageConfig, tree snapshot.Key, err error) {
	if err := h.store.BeginLeases(); err != nil {
		return img, nil, "", err
	}
	err = h.store.WithBlobs(c.Context, func() error {
		if img, err = broughtImage(c, h.store, r); err != nil {
			return err
		}
		if config, tree, err = h.unpack(c.Context, img); err != nil {
			return err
		}
		return h.store.Lease(c.Context, tree)
	})
	return img, config, tree, err
}

// containerExit lets builder end as a container's program did.
func containerExit(exit container.Exit, err error) error {
	if err == nil && exit.Error != "" {
		err = &fault.Error{Err: errors.New(exit.Error), Code: exit.Code}
	}
	if err == nil && exit.Unexplained {
		err = &fault.Error{
			Err:  fmt.Errorf("the program, or one that it had started, was killed (exit code %d); %s", exit.Code, sandbox.UnknownKill),
			Code: exit.Code, Remedy: sandbox.WantOfMemory,
		}
	}
	return asExit(sandbox.Exit{Code: exit.Code, OOM: exit.OOM}, err)
}

// asExit lets builder end as a program in a sandbox did.
func asExit(exit sandbox.Exit, err error) error {
	switch {
	case err != nil:
		return err
	case exit.OOM != nil:
		return outOfMemory(exit.Code, exit.OOM)
	case exit.Code != 0:
		return exitStatus(exit.Code)
	}
	return nil
}

// outOfMemory tells as much as the cgroup does.
func outOfMemory(code int, oom *sandbox.OOM) error {
	e := &fault.Error{Code: code, Remedy: "give it more memory, or let it use less"}
	limit := units.BytesSize(float64(oom.Limit))
	switch {
	case oom.Asked:
		e.Err = fmt.Errorf("the program was ended by the kernel's out-of-memory killer: it may use %s (--memory)", limit)
		e.Remedy = "give it more by --memory, or let it use less"
	case oom.Limit > 0:
		e.Err = fmt.Errorf("the program was ended by the kernel's out-of-memory killer in cgroup %s, whose limit is %s", oom.Cgroup, limit)
	default:
		e.Err = fmt.Errorf("the program was ended by the kernel's out-of-memory killer in cgroup %s", oom.Cgroup)
	}
	return e
}
