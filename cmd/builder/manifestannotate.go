package main

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/transport"
)

// memberFlags say what a list tells of an image.
func memberFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "os", Usage: "the system `OS` that it is for"},
		&cli.StringFlag{Name: "arch", Usage: "the architecture `ARCH`"},
		&cli.StringFlag{Name: "variant", Usage: "the architecture's `VARIANT`"},
		&cli.StringFlag{Name: "os-version", Usage: "the system's `VERSION`"},
		&cli.StringSliceFlag{Name: "os-features", Usage: "what the system must have, `FEATURE`[,FEATURE...]"},
		&cli.StringSliceFlag{
			Name: "features", Hidden: true, Usage: "what the processor must have",
			Action: func(c *cli.Context, _ []string) error {
				return usageError(c.Command.HelpName, "--features: an OCI index tells nothing of a processor's features; use --variant")
			},
		},
	}
}

func manifestAnnotateCommand() *cli.Command {
	return &cli.Command{
		Name:        "annotate",
		Usage:       "Change what a manifest list tells of an image",
		ArgsUsage:   "LIST IMAGE|DIGEST",
		Description: "With --index, it is the list itself that gets annotations.",
		Flags: append(append(memberFlags(),
			&cli.StringSliceFlag{Name: "annotation", Usage: "add an annotation `NAME=VALUE`; may be repeated"},
			&cli.BoolFlag{Name: "index", Usage: "annotate the list"}), append(registryFlags(), insecureFlag()...)...),
		Action: coded(manifestAnnotate),
	}
}

func manifestAnnotate(c *cli.Context) error {
	wanted := 2
	if c.Bool("index") {
		wanted = 1
	}
	if c.NArg() != wanted {
		return usageError(c.Command.HelpName, "%s takes a list and an image in it; with --index, a list alone", c.Command.HelpName)
	}
	change, err := readMemberFlags(c)
	if err != nil {
		return err
	}
	annotations, err := pairs(c, "annotation")
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		list := c.Args().First()
		return changeList(c, store, list, func(index *v1.Index) error {
			if c.Bool("index") {
				index.Annotations = withPairs(index.Annotations, annotations)
				return nil
			}
			at, err := memberIn(c, store, index, list, c.Args().Get(1))
			if err == nil {
				change(&index.Manifests[at])
			}
			return err
		})
	})
}

// readMemberFlags gives what the flags change of an image in a list.
func readMemberFlags(c *cli.Context) (func(*v1.Descriptor), error) {
	annotations, err := pairs(c, "annotation")
	if err != nil {
		return nil, err
	}
	features := commaLists(c.StringSlice("os-features"))
	return func(d *v1.Descriptor) {
		p := v1.Platform{}
		if d.Platform != nil {
			p = *d.Platform
		}
		for flag, field := range map[string]*string{"os": &p.OS, "arch": &p.Architecture, "variant": &p.Variant, "os-version": &p.OSVersion} {
			if c.IsSet(flag) {
				*field = c.String(flag)
			}
		}
		if c.IsSet("os-features") {
			p.OSFeatures = features
		}
		if p.OS != "" || p.Architecture != "" {
			d.Platform = &p
		}
		d.Annotations = withPairs(d.Annotations, annotations)
	}, nil
}

// pairs reads a flag of NAME=VALUE.
func pairs(c *cli.Context, flag string) (map[string]string, error) {
	found := map[string]string{}
	for _, text := range c.StringSlice(flag) {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fault.New("write it as --"+flag+" NAME=VALUE", "--%s %q is not NAME=VALUE", flag, text)
		}
		found[name] = value
	}
	return found, nil
}

// withPairs gives annotations with further ones: nil where there are none.
func withPairs(to, more map[string]string) map[string]string {
	if len(more) == 0 {
		return to
	}
	all := maps.Clone(more)
	for name, value := range to {
		if _, given := more[name]; !given {
			all[name] = value
		}
	}
	return all
}

// remoteDigests gives the digest of what a registry has under a name, and of what
// that lists.
func remoteDigests(c *cli.Context, name string, o transport.Options) ([]digest.Digest, error) {
	raw, _, err := transport.RemoteManifest(c.Context, name, o)
	if err != nil {
		return nil, err
	}
	found := []digest.Digest{digest.FromBytes(raw)}
	var index v1.Index
	if json.Unmarshal(raw, &index) == nil {
		for _, m := range index.Manifests {
			found = append(found, m.Digest)
		}
	}
	return found, nil
}
