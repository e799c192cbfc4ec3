package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/snapshot"
)

// openStore opens the store that the flags and the environment name.
func openStore(c *cli.Context) (*storage.Store, error) {
	store, err := storage.Open(c.Context, storage.Options{Root: c.String(flagRoot)})
	if err == nil {
		findSteps(c, store)
	}
	return store, err
}

// withStore calls fn with the store open. Where fn wants an image that has to be
// made inside the user namespace, the command runs again there: before it has
// found its images fn prints nothing.
func withStore(c *cli.Context, fn func(*storage.Store) error) error {
	store, err := openStore(c)
	if err != nil {
		return err
	}
	err = fn(store)
	if store.Layout().HasFreed() {
		err = errors.Join(err, store.Sweep(context.WithoutCancel(c.Context), userns.Inside()))
	}
	if closing := store.Close(); closing != nil || !errors.Is(err, build.ErrNamespace) || userns.Inside() {
		return errors.Join(err, closing)
	}
	noticeMapping(c)
	return enter(c, nil, storeEnv(store)...)
}

// storeRoot is where the store is, or would be.
func storeRoot(c *cli.Context) (string, error) {
	if root := c.String(flagRoot); root != "" {
		return filepath.Abs(root)
	}
	return storage.DefaultRoot()
}

// storeEnv tells a process inside the user namespace, where the user has
// another id, which store was open outside.
func storeEnv(store *storage.Store) []string {
	return []string{storage.RootEnv + "=" + store.Root(), storage.RunDirEnv + "=" + store.RunDir()}
}

// enter runs this program again as root of a user namespace, with args as its
// argv or else the same one. What that process has to say it says itself. No
// store may be open here, so that another can be alone with it.
func enter(c *cli.Context, args []string, env ...string) error {
	if args == nil {
		args, env = hideCreds(c, os.Args, env)
	}
	code, err := userns.Enter(c.Context, userns.Options{Args: args, Env: env})
	if err == nil && code != 0 {
		return exitStatus(code)
	}
	return err
}

// notice tells of a mapping that is less than it could be, and goes on.
func notice(w io.Writer, m userns.Mapping) {
	if m.Notice == nil {
		return
	}
	why := *m.Notice
	if m.Kind == userns.KindSingle {
		why.Err = fmt.Errorf("going on with a single id, so that a RUN can't change owners: %w", why.Err)
	}
	tell(w, &why)
}

// noticeMapping is notice for a command that has no other use for the mapping.
// That there is none will be the error of entering the namespace.
func noticeMapping(c *cli.Context) {
	if mapping, err := userns.Detect(); err == nil {
		notice(c.App.ErrWriter, mapping)
	}
}

// tell prints what was found out, as an error is, and goes on.
func tell(w io.Writer, err error) { _, _ = io.WriteString(w, render(err)) }

// host is what commands have that work on file systems: the store with its
// trees open, and a sandbox to run programs over them, whose runtime is looked
// for when there is one to run. It is had only inside the user namespace.
type host struct {
	store     *storage.Store
	mapping   userns.Mapping
	snapshots *snapshot.Store
	sandbox   sandbox.Sandbox
	programs  programs
}

// programs makes programs that outlive the call which makes them, once there is a
// runtime to make them by.
type programs func() (*sandbox.OCI, error)

// Create is container.Runtime's.
func (p programs) Create(ctx context.Context, s sandbox.Spec) (*sandbox.Program, error) {
	oci, err := p()
	if err != nil {
		return nil, err
	}
	return oci.Create(ctx, s)
}

// openHost gives all of it, cleared of what killed commands have left: containers
// first, for their trees go after them.
func openHost(c *cli.Context) (*host, error) {
	h, err := openTrees(c)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(sweepContainers(c.Context, h.store), h.store.Sweep(c.Context, true)); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	name, filters := c.String(flagRuntime), filepath.Join(h.store.Dir("cache"), "seccomp")
	h.programs = sync.OnceValues(func() (*sandbox.OCI, error) {
		runtime, err := sandbox.FindRuntime(name)
		if err != nil {
			return nil, err
		}
		return sandbox.NewOCI(runtime, filters, userns.PIDNamespace()), nil
	})
	h.sandbox = sandbox.Lazy(func() (sandbox.Sandbox, error) { return h.programs() })
	return h, nil
}

// openTrees gives store and trees as they are: a repair has to see them so, and
// clean-up may need it first.
func openTrees(c *cli.Context) (_ *host, err error) {
	h := &host{}
	if h.mapping, err = userns.Current(); err != nil {
		return nil, err
	}
	if why := userns.StepDown(); why != "" {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "%s: going on with %v (%s doctor tells what mends it)\n", programName, doctor.PIDNamespace(why), programName)
	}
	if h.store, err = openStore(c); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.snapshots, err = h.openSnapshots(c); err != nil {
		return nil, err
	}
	h.findSteps(c)
	return h, nil
}

// Close ends the session and lets go of the store.
func (h *host) Close() error { return h.store.Close() }

// restoreStdin makes data, which was read from the standard input, the standard
// input again, for the same command in the user namespace. Nil leaves it.
func restoreStdin(data []byte) error {
	if data == nil {
		return nil
	}
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "stdin")
	defer func() { _ = f.Close() }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return os.NewSyscallError("dup3", unix.Dup3(fd, int(os.Stdin.Fd()), 0))
}
