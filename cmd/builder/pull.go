package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/distribution/reference"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// registryFlags are those of all commands that speak with registries.
func registryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "tls-verify", Usage: "ask registries off this host to prove themselves by TLS"},
		&cli.StringFlag{Name: "authfile", Usage: "`FILE` with logins, as docker's config.json"},
		&cli.StringFlag{Name: "creds", Usage: "log in as `USER:PASSWORD`"},
		policyFlag(),
	}
}

// policyFlag is buildah's, of commands that bring images into the store.
func policyFlag() cli.Flag {
	return &cli.StringFlag{Name: "signature-policy", Usage: "take `FILE` in place of policy.json", Hidden: true}
}

// contentTrust is docker's flag that leaves Notary out, which nobody asks here.
func contentTrust() []cli.Flag { return granted("disable-content-trust") }

// puller gives a function that pulls images into store and prints their way. It
// may be called from several goroutines.
func puller(c *cli.Context, store *storage.Store, d display) func(ctx context.Context, name, platform string, coming func()) (layout.Image, error) {
	return func(ctx context.Context, name, platform string, coming func()) (layout.Image, error) {
		return pullFor(ctx, c, store, name, transport.Options{Platform: platform, Base: true}, func(canonical string) transfer {
			return announced{d.transfer(canonical), coming}
		})
	}
}

// announced calls coming where something is fetched.
type announced struct {
	transfer
	coming func()
}

func (a announced) report(e transport.Event) {
	if e.Kind == transport.Queued {
		a.coming()
	}
	a.transfer.report(e)
}

// pullImage pulls an image into store and shows its way.
func pullImage(ctx context.Context, c *cli.Context, store *storage.Store, name, platform string, show func(canonical string) transfer) (layout.Image, error) {
	return pullFor(ctx, c, store, name, transport.Options{Platform: platform}, show)
}

// pullFor is pullImage with what it is pulled for: the platform, and whether it
// is a base.
func pullFor(ctx context.Context, c *cli.Context, store *storage.Store, name string, as transport.Options, show func(canonical string) transfer) (layout.Image, error) {
	canonical, err := layout.ParseName(name)
	if err != nil {
		return layout.Image{}, err
	}
	want, err := platform.Parse(as.Platform)
	if err != nil {
		return layout.Image{}, err
	}
	before, err := store.Layout().FindFor(canonical, want)
	if err != nil && !errors.Is(err, layout.ErrUnknown) && !errors.Is(err, layout.ErrPlatform) && !errors.Is(err, layout.ErrAbsent) {
		return layout.Image{}, err
	}
	o, err := transportOptions(c, store)
	if err != nil {
		return layout.Image{}, err
	}
	way := show(canonical)
	c.App.Metadata[libraryKey].(*libraryLog).listen(way.report)
	o.Platform, o.Base, o.Report = as.Platform, as.Base, way.report
	img, err := transport.Pull(ctx, name, o) // as it is written: it may be an alias
	if err != nil {
		return img, err
	}
	return img, way.arrived(img, before.Manifest.Digest != img.Manifest.Digest)
}

// transportOptions reads registryFlags.
func transportOptions(c *cli.Context, store *storage.Store) (transport.Options, error) {
	o := registryOptions(c)
	o.Layout = store.Layout()
	o.Known = filepath.Join(store.Dir("cache"), "registries")
	session, err := store.Session()
	if err != nil {
		return o, err
	}
	o.Session = session.ID
	o.TempDir, err = session.TempDir()
	return o, err
}

// registryOptions reads them where there is no store.
func registryOptions(c *cli.Context) transport.Options {
	o := transport.Options{AuthFile: c.String("authfile"), Creds: c.String("creds"), PolicyFile: c.String("signature-policy")}
	if hidden := os.Getenv(credsEnv); hidden != "" && o.Creds != "" {
		o.Creds = hidden
	}
	if c.IsSet("tls-verify") {
		verify := c.Bool("tls-verify")
		o.TLSVerify = &verify
	}
	return o
}

// repositoryPath is a canonical name without its registry.
func repositoryPath(name string) string { return reference.Path(mustParse(name)) }

// mustParse parses a name that layout.ParseName has taken.
func mustParse(name string) reference.Named {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		panic(err)
	}
	return named
}
