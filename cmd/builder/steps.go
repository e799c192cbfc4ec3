package main

import (
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// findSteps lets images be called by the ids that builds print of their steps.
// What it takes to make one is opened when one is asked for.
func findSteps(c *cli.Context, store *storage.Store) {
	open := sync.OnceValues(func() (*host, error) { return stepHost(c, store) })
	store.FindBeyond(func(ref string) (layout.Image, error) {
		h, err := open()
		if err != nil {
			return layout.Image{}, err
		}
		return build.StepImage(c.Context, h.stepEnv(), ref)
	})
}

// stepHost gives the trees too, where they can be had.
func stepHost(c *cli.Context, store *storage.Store) (h *host, err error) {
	h = &host{store: store}
	if !userns.Inside() {
		h.mapping, err = detect(c)
		return h, err
	}
	if h.mapping, err = userns.Current(); err != nil {
		return nil, err
	}
	h.snapshots, err = h.openSnapshots(c)
	return h, err
}

// findSteps is for a command that has the trees open already.
func (h *host) findSteps(c *cli.Context) {
	h.store.FindBeyond(func(ref string) (layout.Image, error) { return build.StepImage(c.Context, h.stepEnv(), ref) })
}

func (h *host) stepEnv() build.Env {
	return build.Env{Store: h.store, ExactOwners: h.mapping.Faithful(), Snapshots: h.snapshots}
}
