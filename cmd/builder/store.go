package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/isolation"
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
	o := entering(c)
	o.Args, o.Env = args, env
	code, err := userns.Enter(c.Context, o)
	if err == nil && code != 0 {
		return exitStatus(code)
	}
	return err
}

// entering says how commands enter the namespace.
func entering(c *cli.Context) userns.Options {
	return userns.Options{Plain: askedIsolation(c).Entering()}
}

// detect gives the mapping that commands will have inside.
func detect(c *cli.Context) (userns.Mapping, error) { return entering(c).Detect() }

// tell prints what was found out, as an error is, and goes on.
func tell(w io.Writer, err error) { _, _ = io.WriteString(w, render(err)) }

// host is what commands have that work on file systems: the store with its
// trees open, and a sandbox to run programs over them, which is chosen when there
// is one to run. It is had only inside the user namespace.
type host struct {
	store     *storage.Store
	mapping   userns.Mapping
	snapshots *snapshot.Store
	isolation *isolation.Isolation
}

// openHost gives all of it, cleared of what killed commands have left: containers
// first, for their trees go after them.
func openHost(c *cli.Context) (*host, error) {
	h, err := openSwept(c)
	if err == nil {
		noticeStepDowns(c, h.mapping, c.Bool(flagEmulateIDs))
	}
	return h, err
}

// openSwept is openHost for commands about what has been made already: what of the
// namespaces can't be had concerns programs, and was told when it was made.
func openSwept(c *cli.Context) (*host, error) {
	h, err := openTrees(c)
	if err != nil {
		return nil, err
	}
	if err := h.sweep(c); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *host) sweep(c *cli.Context) error {
	return errors.Join(sweepContainers(c.Context, h.store), h.store.Sweep(c.Context, true))
}

func newIsolation(c *cli.Context, store *storage.Store) *isolation.Isolation {
	return isolation.New(isolation.Options{
		Asked: askedIsolation(c), Runtime: c.String(flagRuntime),
		Filters: filepath.Join(store.Dir("cache"), "seccomp"), RunDir: store.RunDir(),
		Tell: func(with string, why *fault.Error) { stepDownNotice(c, with, why) },
	})
}

const seeDoctor = "builder doctor    # tells what to do about it"

// stepDownNotice tells what builder goes on with, which isn't the best. A remedy of
// many lines is doctor's business.
func stepDownNotice(c *cli.Context, with string, why error) {
	remedy := strings.TrimSpace(fault.Remedy(why))
	if strings.Contains(remedy, "\n") {
		remedy = seeDoctor
	}
	tell(c.App.ErrWriter, fault.New(remedy, "going on with %s: %w", with, why))
}

// openTrees gives store and trees as they are: a repair has to see them so, and
// clean-up may need it first.
func openTrees(c *cli.Context) (_ *host, err error) {
	h := &host{}
	if h.mapping, err = userns.Current(); err != nil {
		return nil, err
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
	h.isolation = newIsolation(c, h.store)
	return h, nil
}

// noticeStepDowns tells what of the namespaces couldn't be had. Who has ids emulated
// knows of a single one.
func noticeStepDowns(c *cli.Context, m userns.Mapping, emulated bool) {
	switch {
	case m.Notice == nil:
	case m.Kind == userns.KindSingle && emulated:
	case m.Kind == userns.KindSingle:
		stepDownNotice(c, "a single id, so that a RUN can't change owners", m.Notice)
	case !m.Plain():
		tell(c.App.ErrWriter, m.Notice)
	case m.Kind == userns.KindOwn, askedIsolation(c).Level != isolation.Chroot:
		with := "no user namespace"
		if m.Kind == userns.KindHost {
			with += ", by chroot alone"
		}
		stepDownNotice(c, with, m.Notice)
	}
	if why := userns.StepDown(); why != "" && !m.Plain() {
		stepDownNotice(c, "no pid namespace", fault.New(fault.Remedy(doctor.PIDNamespace(why)), "%s", why))
	}
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
