package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// theImage gives the image that the user means: one of the store, or one that a
// transport names. One from a registry is pulled; of others nothing is kept when the
// command has ended.
func theImage(c *cli.Context, store *storage.Store, ref string) (layout.Image, error) {
	return imageAnywhere(c, store, ref, true)
}

// imageAnywhere is theImage; where the image isn't for this process alone it stays,
// without the names that it has elsewhere.
func imageAnywhere(c *cli.Context, store *storage.Store, ref string, passing bool) (layout.Image, error) {
	img, err := store.Layout().Find(ref)
	from, elsewhere := transport.ParseSource(ref)
	if err == nil || !elsewhere {
		return img, err
	}
	if name, ok := from.Registry(); ok {
		return pullImage(c.Context, c, store, name, platformFlag(c), (&plainDisplay{out: c.App.ErrWriter}).transfer)
	}
	return adopt(c.Context, c, store, from, platformFlag(c), passing)
}

// imageFor gives the image that the user means; with --platform that one of its
// index.
func imageFor(c *cli.Context, store *storage.Store, ref string) (layout.Image, error) {
	text := platformFlag(c)
	if text == "" || isElsewhere(ref) {
		return theImage(c, store, ref)
	}
	want, err := platform.Parse(text)
	if err != nil {
		return layout.Image{}, err
	}
	img, err := store.Layout().FindFor(ref, want)
	return img, otherPlatform(err, ref, want)
}

// otherPlatform is err, with the remedy where the image isn't here for a platform.
func otherPlatform(err error, ref string, want v1.Platform) error {
	if !errors.Is(err, layout.ErrPlatform) {
		return err
	}
	return fault.New("fetch it: builder pull --platform "+platform.Name(want)+" "+ref,
		"image %s was found, but not for %s: %w", ref, platform.Name(want), layout.ErrPlatform)
}

// platformFlag is the value of --platform, where a command has it for one image.
func platformFlag(c *cli.Context) string {
	text, _ := c.Value("platform").(string)
	return text
}

// isElsewhere tells whether ref names an image by a transport.
func isElsewhere(ref string) bool {
	_, elsewhere := transport.ParseSource(ref)
	return elsewhere
}

func adopt(ctx context.Context, c *cli.Context, store *storage.Store, from transport.Source, platform string, passing bool) (layout.Image, error) {
	o, err := transportOptions(c, store)
	if err != nil {
		return layout.Image{}, err
	}
	o.Platform, o.Passing = platform, passing
	return transport.Adopt(ctx, from, o)
}

// adopter gives a function that takes up images from elsewhere on disk.
func adopter(c *cli.Context, store *storage.Store) func(ctx context.Context, ref, platform string) (layout.Image, error) {
	return func(ctx context.Context, ref, platform string) (layout.Image, error) {
		from, ok := transport.ParseSource(ref)
		if !ok {
			return layout.Image{}, fmt.Errorf("%s: not a place of images", ref)
		}
		return adopt(ctx, c, store, from, platform, false)
	}
}

// bring is pull from elsewhere than a registry: images keep their names.
func bring(c *cli.Context, from transport.Source) error {
	return withStore(c, func(store *storage.Store) error {
		o, err := transportOptions(c, store)
		if err != nil {
			return err
		}
		o.Platform = c.String("platform")
		images, err := transport.Bring(c.Context, from, o)
		if err != nil {
			return err
		}
		for _, img := range images {
			label, name := "Loaded image: ", layout.Familiar(img.Name)
			if name == "" {
				label, name = "Loaded image ID: ", img.ID.String()
			}
			if c.Bool("quiet") {
				label = ""
			}
			if _, err := fmt.Fprintln(c.App.Writer, label+name); err != nil {
				return err
			}
		}
		return nil
	})
}

// tagImage gives an image further names.
func tagImage(c *cli.Context, store *storage.Store, ref string, names []string) error {
	err := store.Layout().Tag(c.Context, ref, names...)
	if err == nil || !isElsewhere(ref) {
		return err
	}
	img, err := theImage(c, store, ref)
	if err != nil {
		return err
	}
	return store.Layout().Commit(c.Context, names, img.Manifest, img.Index)
}

// imageEnv tells the process in the namespace which image it is that was found,
// or taken up, outside.
const imageEnv = "_BUILDER_IMAGE"

func broughtEnv(img layout.Image) string {
	text, err := json.Marshal(img)
	if err != nil {
		panic(err) // nothing but strings and numbers
	}
	return imageEnv + "=" + string(text)
}

// broughtImage gives that image; where the user has called from a namespace, it is
// found here.
func broughtImage(c *cli.Context, store *storage.Store, r containerRequest) (img layout.Image, err error) {
	text := os.Getenv(imageEnv)
	if text == "" {
		return r.presentImage(c, store)
	}
	return img, json.Unmarshal([]byte(text), &img)
}
