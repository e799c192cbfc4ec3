package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// monitorCommand is what run, create and start run inside the user namespace. It
// lives as long as the container does.
func monitorCommand() *cli.Command {
	return &cli.Command{
		Name:   "monitor",
		Usage:  "Watch a container; run, create and start begin it",
		Hidden: true,
		Action: monitorContainer,
	}
}

// monitorRequest is what its client asks of a monitor.
type monitorRequest struct {
	// New is the container to be made; nil where ID names one.
	New *containerRequest `json:",omitempty"`
	ID  string            `json:",omitempty"`
	// Start has its program run.
	Start bool
	// Shares says that another container's network came with the request.
	Shares bool `json:",omitempty"`
}

// monitorContainer makes or opens the container, and runs its program. Whatever
// there is to say is said to the client: nobody reads this process's exit code.
func monitorContainer(c *cli.Context) error {
	if !userns.Inside() {
		return usageError(c.Command.HelpName, "%s is for builder itself", c.Command.HelpName)
	}
	var request monitorRequest
	first, err := container.FirstClient(userns.FirstFile, &request)
	if errors.Is(err, io.EOF) {
		return nil // the client has been killed
	}
	if err != nil {
		return err
	}
	w, err := openWatched(c, first, request)
	if err != nil {
		first.Tell(err)
		return nil
	}
	if !request.Start {
		err = w.monitor.Leave() // before the client knows its id
	}
	// A client that doesn't hear of it has been killed: there is nobody to tell.
	if unheard := first.Made(w.monitor.Config.ID); unheard != nil || err != nil || !request.Start {
		return errors.Join(err, w.monitor.Close(), w.tree.Release(), w.host.Close())
	}
	if request.Shares {
		w.network = os.NewFile(userns.FirstFile+1, "network")
	}
	return w.run(c, first)
}

// watched is a container with all that a monitor has of it.
type watched struct {
	host    *host
	monitor *container.Monitor
	tree    *snapshot.Active
	network *os.File // of another container; nil for one of its own
	free    bool     // the store has been let go
}

func openWatched(c *cli.Context, first *container.First, request monitorRequest) (_ *watched, err error) {
	ctx, cancel := first.While(c.Context)
	defer cancel()
	w := &watched{}
	if w.host, err = openTrees(c); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.host.Close())
		}
	}()
	if err := w.host.refusal(request); err != nil {
		return nil, err
	}
	noticeStepDowns(c, w.host.mapping, request.emulates(w.host))
	if err := w.host.sweep(c); err != nil {
		return nil, err
	}
	if request.New != nil {
		return w, w.make(ctx, c, *request.New)
	}
	return w, w.open(ctx, request.ID)
}

// refusal is why what is asked for can't be had here at all.
func (h *host) refusal(r monitorRequest) error {
	if r.Start {
		if err := h.isolation.Refusal(); err != nil {
			return err
		}
	}
	if h.mapping.Kind == userns.KindHost && sandbox.MayMount() != nil {
		return sandbox.NoContainers()
	}
	return nil
}

// emulates tells whether the container has its ids emulated.
func (r monitorRequest) emulates(h *host) bool {
	if r.New != nil {
		return r.New.EmulateIDs
	}
	found, err := findFor(h.store, r.ID)
	return err == nil && found.Config.Spec.EmulateIDs
}

// make makes a container over the tree of its image.
func (w *watched) make(ctx context.Context, c *cli.Context, r containerRequest) (err error) {
	img, config, tree, err := w.host.leasedImage(c, r)
	if err != nil {
		return err
	}
	if w.tree, err = w.host.snapshots.Prepare(ctx, tree); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.tree.Discard())
		}
	}()
	cfg, err := r.config(img, config.Config, w.tree.Parent())
	if err != nil {
		return err
	}
	if lesser := network.StepDown(); lesser != nil && r.Network.Mode == "" {
		tell(c.App.ErrWriter, lesser)
	}
	cfg.Runtime, cfg.Isolation = c.String(flagRuntime), c.String(flagIsolation)
	if err := w.tree.Keep(cfg.ID); err != nil {
		return err
	}
	if cfg.Mounts, _, err = w.readyMounts(ctx, cfg, config.Config.Volumes, ""); err != nil {
		return err
	}
	if w.monitor, err = container.Create(containersDir(w.host.store), cfg); err != nil {
		return errors.Join(err, w.removeAnonymous(cfg))
	}
	if err := w.haveVolumes(cfg); err != nil {
		return errors.Join(err, w.removeAnonymous(cfg), w.monitor.Remove())
	}
	return nil
}

// open takes up a container that was made before, and unpacks its image once more
// where that has to be.
func (w *watched) open(ctx context.Context, id string) (err error) {
	if w.monitor, err = container.Open(ctx, containersDir(w.host.store), id); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.monitor.Close())
		}
	}()
	w.tree, err = w.host.snapshots.Reopen(ctx, id)
	var missing *snapshot.MissingParentError
	if errors.Is(err, snapshot.ErrNotFound) {
		return fault.New("builder rm "+cmp.Or(w.monitor.Config.Name, id), "what container %s has written is gone from the store", id)
	}
	if !errors.As(err, &missing) {
		return err
	}
	if err := w.host.unpackAgain(ctx, w.monitor.Config, missing.Parent); err != nil {
		return err
	}
	w.tree, err = w.host.snapshots.Reopen(ctx, id)
	return err
}

// unpackAgain makes the tree that a container stands on, which counts no more since
// a reboot: of its image, or where that was removed by force, of the layers that were
// kept for the container.
func (h *host) unpackAgain(ctx context.Context, c container.Config, parent snapshot.Key) error {
	if err := h.store.Lease(ctx, parent); err != nil {
		return err
	}
	img, err := h.store.Layout().Find(c.ImageID)
	if errors.Is(err, layout.ErrUnknown) {
		layers, err := h.store.PackedLayers(parent)
		if err == nil {
			return h.snapshots.Unpack(ctx, layers, nil)
		}
		if !errors.Is(err, snapshot.ErrNotFound) {
			return err
		}
		return fault.New("builder pull "+c.Image+"    # brings it again, where it hasn't changed there",
			"the image %s (%s) is gone, and with it what the container was made upon", c.Image, digest.Digest(c.ImageID).Encoded()[:12])
	}
	if err != nil {
		return err
	}
	_, _, err = h.unpack(ctx, img)
	return err
}

// run runs the program till its end.
func (w *watched) run(c *cli.Context, first *container.First) error {
	m, h := w.monitor, w.host
	owned := &ownedTree{Active: w.tree, runtime: h.isolation}
	parts := container.Parts{
		Root: owned, Runtime: owned, RunDir: h.store.RunDir(), Network: w.network, Account: accountIn,
		Ready: func(ctx context.Context, rootfs string) ([]sandbox.Mount, error) {
			if err := makeWorkdir(rootfs, m.Config.Spec.Cwd); err != nil {
				return nil, err
			}
			_, shown, err := w.readyMounts(ctx, m.Config, nil, rootfs)
			return shown, err
		},
		Removing: func() error { return w.removeAnonymous(m.Config) },
		Started:  w.letGo,
	}
	err := m.Run(c.Context, parts, first)
	if !w.free { // the program never ran
		err = errors.Join(err, h.Close())
	}
	return err
}

// letGo frees the store and the client's standard streams. What a monitor has to
// say from then on goes to a file beside the container's log.
func (w *watched) letGo() error {
	dir := filepath.Join(containersDir(w.host.store), w.monitor.Config.ID)
	said, err := os.OpenFile(filepath.Join(dir, "monitor.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = said.Close() }()
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(said.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	w.free = true
	return w.host.Close()
}
