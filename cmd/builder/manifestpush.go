package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func manifestInspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "Print a manifest list, or an image's manifest",
		ArgsUsage:   "NAME",
		Description: "It is the registry's where there is none here, and with docker://NAME.",
		Flags:       slices.Concat(registryFlags(), insecureFlag(), laterBools("verbose", "v")),
		Action:      coded(manifestInspect),
	}
}

func manifestInspect(c *cli.Context) error {
	ref, err := argument(c, "the list's name")
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		raw, mediaType, err := manifestFor(c, store, ref)
		if err != nil {
			return err
		}
		indent := "\t" // docker's, of a manifest
		if layout.IsIndex(mediaType) {
			indent = "   "
		}
		var b bytes.Buffer
		if err := json.Indent(&b, raw, "", indent); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.App.Writer, b.String())
		return err
	})
}

// manifestFor gives the manifest or index that ref means, here or in a registry.
func manifestFor(c *cli.Context, store *storage.Store, ref string) (raw []byte, mediaType string, err error) {
	name, remote := strings.CutPrefix(ref, "docker://")
	if !remote {
		img, err := store.Layout().Find(ref)
		if err == nil {
			raw, err := store.Layout().ReadBlob(img.Target().Digest)
			return raw, img.Target().MediaType, err
		}
		if !errors.Is(err, layout.ErrUnknown) {
			return nil, "", err
		}
	}
	o, err := manifestOptions(c, store)
	if err != nil {
		return nil, "", err
	}
	return transport.RemoteManifest(c.Context, name, o)
}

func manifestPushCommand() *cli.Command {
	return &cli.Command{
		Name:      "push",
		Usage:     "Push a manifest list with all its images",
		ArgsUsage: "LIST [NAME[:TAG]]",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "purge", Aliases: []string{"p", "rm"}, Usage: "remove the list here afterwards"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the list's digest only"},
			&cli.StringFlag{Name: "digestfile", Usage: "write the list's digest to `FILE`"},
		}, conversionFlags(), registryFlags(), insecureFlag(), granted("all", "remove-signatures")),
		Action: coded(manifestPush),
	}
}

func manifestPush(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usageError(c.Command.HelpName, "%s takes a list, and perhaps another name to push it to", c.Command.HelpName)
	}
	list, dest := c.Args().Get(0), c.Args().Get(1)
	if dest == "" {
		dest = list
	}
	_, dest, err := pushHeading(strings.TrimPrefix(dest, "docker://"))
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		img, _, err := store.Layout().Multi(list)
		if err != nil {
			return noSuchList(list, err)
		}
		pushed, err := pushList(c, store, img, dest)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c.App.Writer, pushed.Digest); err != nil {
			return err
		}
		if file := c.String("digestfile"); file != "" {
			if err := os.WriteFile(file, []byte(pushed.Digest), 0o644); err != nil {
				return err
			}
		}
		if c.Bool("purge") {
			return removeList(c, store, list)
		}
		return nil
	})
}

// pushList pushes an index with all that it lists. The layers' way is shown beside
// the results, which are docker's.
func pushList(c *cli.Context, store *storage.Store, img layout.Image, dest string) (v1.Descriptor, error) {
	o, err := manifestOptions(c, store)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if o.Conversion, err = readConversion(c); err != nil {
		return v1.Descriptor{}, err
	}
	p, err := newProgress(c, "Pushing to "+dest, true)
	if err != nil {
		return v1.Descriptor{}, err
	}
	var arrived []v1.Descriptor
	o.All, o.Arrived = true, func(d v1.Descriptor) { arrived = append(arrived, d) }
	shown := p.display(c, false, nil)
	way := pushTransfer(shown, p, dest)
	o.Report = way.report
	pushed, err := transport.Push(c.Context, img, dest, o)
	if err == nil {
		err = way.arrived(img, true)
	}
	if err := shown.settle(err); err != nil {
		return pushed, err
	}
	out := c.App.Writer
	if c.Bool("quiet") {
		out = io.Discard
	}
	for _, d := range arrived {
		repository := mustParse(dest).Name()
		if _, err := fmt.Fprintf(out, "Pushed ref %s@%s with digest: %s\n", repository, d.Digest, d.Digest); err != nil {
			return pushed, err
		}
	}
	return pushed, nil
}
