package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// presentImage finds the image of a new container, or pulls it, telling so where it
// doesn't mix with the program's output.
func (r containerRequest) presentImage(c *cli.Context, store *storage.Store) (layout.Image, error) {
	if r.Pull != pullAlways || isElsewhere(r.Image) {
		img, err := r.imageHere(c, store)
		if err == nil || !errors.Is(err, layout.ErrUnknown) && !errors.Is(err, layout.ErrPlatform) || isElsewhere(r.Image) {
			return img, err
		}
	}
	name, err := layout.ParseName(r.Image)
	if err != nil {
		return layout.Image{}, err
	}
	if r.Pull == pullNever {
		return layout.Image{}, fault.New("leave out --pull never, or: builder pull "+r.Image, "No such image: %s", layout.Familiar(name))
	}
	out := c.App.ErrWriter
	if r.Quiet {
		out = io.Discard
	}
	if r.Pull == pullMissing {
		if _, err := fmt.Fprintf(out, "Unable to find image '%s' locally\n", layout.Familiar(name)); err != nil {
			return layout.Image{}, err
		}
	}
	return pullImage(c.Context, c, store, name, r.Platform, (&plainDisplay{out: out, notes: c.App.ErrWriter}).transfer)
}

// imageHere finds the image in the store, or where a transport says it is.
func (r containerRequest) imageHere(c *cli.Context, store *storage.Store) (layout.Image, error) {
	if r.Platform == "" || isElsewhere(r.Image) {
		return imageAnywhere(c, store, r.Image, false)
	}
	want, err := platform.Parse(r.Platform)
	if err != nil {
		return layout.Image{}, err
	}
	return store.Layout().FindFor(r.Image, want)
}
