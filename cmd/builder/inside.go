package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// findFor gives the container that ref means, for a command about one. What
// happens to it is its monitor's business, or that of who locks it.
func findFor(store *storage.Store, ref string) (container.Found, error) {
	config, state, err := container.Find(containersDir(store), ref)
	return container.Found{Config: config, State: state}, err
}

// visit says how a command goes to the files of a container.
type visit struct {
	pause   bool
	in, out *os.File // in place of the standard streams
}

// visitedEnv tells the command inside which container is meant: names may have
// changed hands by then.
const visitedEnv = "_BUILDER_CONTAINER_ID"

// goInside runs this command once more where the container's files can be
// reached: one that has a monitor has them mounted in the monitor's namespaces,
// others are opened in a user namespace of their own. No store is open here.
func (v visit) goInside(c *cli.Context, found container.Found, env []string) error {
	code, err := v.run(c, found, env)
	if err == nil && code != 0 {
		return exitStatus(code)
	}
	return err
}

func (v visit) run(c *cli.Context, found container.Found, env []string) (code int, err error) {
	env = append(env, visitedEnv+"="+found.Config.ID)
	in, out := v.in, v.out
	if in == nil {
		in = os.Stdin
	}
	if out == nil {
		out = os.Stdout
	}
	if found.State.Lives() {
		code, err = visitMonitor(c, found, env, container.InsideRequest{Args: os.Args[1:], Pause: v.pause}, in, out)
		if !errors.Is(err, container.ErrNotRunning) {
			return code, err
		}
	}
	o := entering(c)
	o.KeepID, o.Env, o.Stdin, o.Stdout = found.Config.KeepID, env, in, out
	return userns.Enter(c.Context, o)
}

func visitMonitor(c *cli.Context, found container.Found, env []string, r container.InsideRequest, in, out *os.File) (code int, err error) {
	client, err := dialMonitor(c, found.Config.ID)
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Close() }()
	if r.Dir, err = os.Getwd(); err != nil {
		return 0, err
	}
	r.Env = env
	return client.Inside(c.Context, r, in, out, os.Stderr, func() syscall.Signal { return endSignal(c.Context) })
}

// dialMonitor reaches a container's monitor, without the store.
func dialMonitor(c *cli.Context, id string) (*container.Client, error) {
	root, err := storeRoot(c)
	if err != nil {
		return nil, err
	}
	return container.Dial(storage.ContainersDir(root), id)
}

// keptFiles is, inside, a container with its kept tree at hand.
type keptFiles struct {
	*host
	container.Found
	monitor *container.Monitor // holds the lock of one that doesn't run
	tree    *snapshot.Active   // of one that doesn't run
	root    string             // where its file system is mounted by the monitor; "" where nobody has mounted it
}

// inside is the other end of goInside: it calls fn with the container's files.
// Nobody starts the container meanwhile.
func inside(c *cli.Context, ref string, fn func(*keptFiles) error) (err error) {
	k := &keptFiles{root: os.Getenv(container.RootEnv)}
	if id := os.Getenv(visitedEnv); id != "" {
		ref = id
	}
	defer func() { err = orGone(c, ref, err) }()
	if err := k.open(c, ref); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	return fn(k)
}

// orGone is err, or that there is no such container any more where its files went
// while they were read.
func orGone(c *cli.Context, ref string, err error) error {
	if !errors.Is(err, snapshot.ErrNotFound) {
		return err
	}
	store, openErr := openStore(c)
	if openErr != nil {
		return err
	}
	if _, gone := findFor(store, ref); gone != nil {
		err = gone
	}
	return errors.Join(err, store.Close())
}

func (k *keptFiles) open(c *cli.Context, ref string) (err error) {
	if err := k.chooseDriver(c, ref); err != nil {
		return err
	}
	if k.host, err = openSwept(c); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.Found, err = findFor(k.store, ref); err != nil || k.root != "" {
		return err
	}
	w := &watched{host: k.host}
	if err := w.open(c.Context, k.Config.ID); err != nil {
		return err
	}
	k.monitor, k.tree = w.monitor, w.tree
	return nil
}

// chooseDriver takes the driver that the container's tree was made with, where the
// user names none.
func (k *keptFiles) chooseDriver(c *cli.Context, ref string) error {
	if c.String(flagDriver) != "" {
		return nil
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	found, err := findFor(store, ref)
	if err == nil {
		err = useDriver(c, store, found.Config.ID)
	}
	return errors.Join(err, store.Close())
}

// useDriver takes the storage driver that the container's tree was made with.
func useDriver(c *cli.Context, store *storage.Store, id string) error {
	driver, err := store.KeptDriver(id)
	if err != nil {
		return err
	}
	return c.Set(flagDriver, string(driver))
}

func (k *keptFiles) close() error {
	var errs []error
	if k.tree != nil {
		errs = append(errs, k.tree.Release())
	}
	if k.monitor != nil {
		errs = append(errs, k.monitor.Close())
	}
	return errors.Join(append(errs, k.Close())...)
}

// endSignal is the signal that has ended the command's context.
func endSignal(ctx context.Context) syscall.Signal {
	var by stopped
	if errors.As(context.Cause(ctx), &by) {
		return by.signal
	}
	return syscall.SIGTERM
}

// changes gives what the container has changed of its image.
func (k *keptFiles) changes(look bool) (layer.Source, error) {
	return k.snapshots.KeptChanges(k.Config.ID, snapshot.ChangeOptions{Placeholders: placeholders(k.Config), Look: look})
}
